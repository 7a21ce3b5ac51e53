from collections.abc import Callable, Mapping

import pytest

from pipeline.config import SEEDS
from pipeline.hashing import digest
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run() -> MakeRun:
    """Makes finished and evaluated runs, each newer than the one before."""
    made: list[Run] = []

    def make(
        strategy: str = "full",
        f1: float | None = 0.8,
        arguments: str = "{}",
        status: str = "FINISHED",
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Run:
        number = len(made)
        logged = {"learning_rate": "2e-05", "seed": "42", **(params or {})}
        settings = {name: value for name, value in logged.items() if name not in (*SEEDS, "compute_dtype")}
        own = {
            "stage": "train",
            "strategy": strategy,
            "strategy_args": arguments,
            "data_fingerprint": "f" * 64,
            "config_hash": f"hash{number}",
            "settings_hash": digest([strategy, arguments, settings]),
        }
        scores = {} if f1 is None else {"test/f1_macro": f1, "test/accuracy": f1}
        run = Run(
            run_id=f"{number:032d}"[::-1],
            name=strategy,
            status=status,  # type: ignore[arg-type]
            start_time=number,
            tags={**own, **(tags or {})},
            params=logged,
            metrics={**scores, "model/trainable_percent": 100.0, **(metrics or {})},
        )
        made.append(run)
        return run

    return make
