from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.stages.forecast import describe_seconds, expected_seconds
from pipeline.tracking.runs import Run


def past(number: int, wall: float, steps: float, speed: float, **changes: Any) -> Run:
    tags = {"stage": "train", "strategy": "full", "base_sha256": "b", **changes.pop("tags", {})}
    metrics = {"cost/wall_seconds": wall, "cost/train_seconds": steps, "cost/examples_per_second": speed}
    metrics |= changes.pop("metrics", {})
    params = {"compute_dtype": changes.pop("dtype", "float32")}
    return Run(str(number), "full", changes.pop("status", "FINISHED"), number, tags=tags, params=params, metrics=metrics)


def planned(examples: int, epochs: int) -> Any:
    config = SimpleNamespace(strategy="full", epochs=epochs)
    return SimpleNamespace(config=config, base_sha256="b", sample=lambda split: range(examples))


def test_the_same_amount_takes_what_it_took() -> None:
    assert expected_seconds([past(1, 30, 20, 10)], planned(100, 2), "fp32") == 30


def test_steps_are_scaled_by_epochs_and_examples_and_the_rest_is_not() -> None:
    runs = [past(1, 30, 20, 10)]
    assert expected_seconds(runs, planned(100, 4), "fp32") == 50
    assert expected_seconds(runs, planned(400, 2), "fp32") == 90


def test_the_median_counts() -> None:
    runs = [past(number, wall, 20, 10) for number, wall in enumerate((30, 40, 500))]
    assert expected_seconds(runs, planned(100, 2), "fp32") == 40


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "FAILED"},
        {"dtype": "bfloat16"},
        {"tags": {"strategy": "lora"}},
        {"tags": {"base_sha256": "other"}},
        {"tags": {"stage": "evaluate"}},
    ],
)
def test_runs_of_something_else_say_nothing(changes: dict[str, Any]) -> None:
    assert expected_seconds([past(1, 30, 20, 10, **changes)], planned(100, 2), "fp32") is None
    assert expected_seconds([], planned(100, 2), "fp32") is None


def test_trials_that_trained_together_say_nothing_of_one_alone() -> None:
    alone = past(1, 30, 20, 10, metrics={"cost/grid_points": 1})
    together = past(2, 3, 2, 100, tags={"stage": "trial"}, metrics={"cost/grid_points": 12})
    assert expected_seconds([alone, together, together], planned(100, 2), "fp32") == 30
    assert expected_seconds([together], planned(100, 2), "fp32") is None


def test_durations_are_said_in_a_fitting_unit() -> None:
    assert [describe_seconds(s) for s in (0, 89, 600, 7200)] == ["0 s", "89 s", "10 min", "2.0 h"]
