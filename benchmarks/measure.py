"""One training by one system, measured in this process alone; prints one line of JSON.

python -m benchmarks.measure ours partial --dataset rotten_tomatoes --rows 3200
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

SYSTEMS = ("run_glue", "trainer", "ours")
"""A: padding to the maximum, float32. B: padding to the longest of a batch, float32. Ours: as `train` does it."""

RATES = {"full": 5e-5, "partial": 2e-4, "bitfit": 3e-3, "lora": 1e-3, "head_only": 3e-2}
ARGUMENTS = {"partial": {"top_k": 2}}
_EVALUATED = (
    64  # validation texts where only training is measured: computing the frozen layers' states of all would count as its cost
)


@click.command()
@click.argument("system", type=click.Choice(SYSTEMS))
@click.argument("strategy", type=click.Choice(sorted(RATES)))
@click.option("--model", default="minilm", show_default=True)
@click.option("--dataset", default="rotten_tomatoes", show_default=True)
@click.option("--rows", type=int, help="Training rows; all if not given.")
@click.option("--steps", type=int, help="Stop a peer after so many steps.")
@click.option("--epochs", default=1, show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--evaluates", is_flag=True, help="Score all validation data, too.")
@click.option("--cache-dir", default=".cache", show_default=True)
def main(
    system: str,
    strategy: str,
    model: str,
    dataset: str,
    rows: int | None,
    steps: int | None,
    epochs: int,
    batch_size: int,
    seed: int,
    evaluates: bool,
    cache_dir: str,
) -> None:
    """Measure STRATEGY as SYSTEM trains it."""
    from pipeline.config import TrainConfig

    config = TrainConfig(
        strategy=strategy,
        strategy_args=ARGUMENTS.get(strategy, {}),
        learning_rate=RATES[strategy],
        model=model,
        dataset=dataset,
        max_train_samples=rows,
        max_eval_samples=None if evaluates else _EVALUATED,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        cache_dir=cache_dir,
    )
    with contextlib.redirect_stdout(sys.stderr):
        if system == "ours":
            found = measure_ours(config)
        else:
            from benchmarks import peers

            padding = "max_length" if system == "run_glue" else "longest"
            found = asdict(peers.measure(config, padding, steps, evaluates))
    print(json.dumps({"system": system, "strategy": strategy, "seed": seed, **found}))


def measure_ours(config: object) -> dict[str, float]:
    """The figures that the run of `train` itself logs."""
    import tempfile

    from pipeline.stages import train
    from pipeline.tracking.memory import MemoryTracker

    tracker = MemoryTracker()
    with tempfile.TemporaryDirectory() as scratch:
        result = train.run(config, tracker, parent_id=None, model_folder=Path(scratch) / "model")  # type: ignore[arg-type]
    run = tracker.get(result.run_id)
    steps = max(step for step, _ in tracker.history(result.run_id, "train/loss_mean"))
    return {
        "seconds_per_step": run.metrics["cost/train_seconds"] / steps,
        "steps": steps,
        "examples": round(run.metrics["cost/examples_per_second"] * run.metrics["cost/train_seconds"]),
        "added_mb": peak_mb(run.metrics),
        "one_off_seconds": run.metrics["cost/cache_seconds"],
        "accuracy": result.validation["accuracy"],
    }


def peak_mb(metrics: Mapping[str, float]) -> float:
    """The GPU's memory where there is one, else what the process held above what it had held before the model was loaded."""
    return metrics.get("cost/peak_cuda_mb", metrics["cost/peak_rss_mb"])


def measure_search(points: list[dict[str, object]], settings: dict[str, object]) -> dict[str, float]:
    """What a search for head_only costs that trains its points at once; the seconds of training are the shares' sum."""
    import tempfile
    import time

    from pipeline.config import TrainConfig
    from pipeline.stages.search.vmapped_heads import train_heads_together
    from pipeline.tracking.memory import MemoryTracker

    configs = [TrainConfig(strategy="head_only", **settings, **point) for point in points]  # type: ignore[arg-type]
    tracker, began = MemoryTracker(), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        folders = [Path(scratch) / str(number) for number in range(len(configs))]
        outcomes = train_heads_together(configs, tracker, model_folders=folders)
    wall = time.perf_counter() - began
    if failed := [outcome for outcome in outcomes if isinstance(outcome, Exception)]:
        raise failed[0]
    runs = [tracker.get(outcome.run_id).metrics for outcome in outcomes]  # type: ignore[union-attr]
    return {
        "train_seconds": sum(run["cost/train_seconds"] for run in runs),
        "grid_seconds": runs[0]["cost/grid_seconds"],
        "one_off_seconds": runs[0]["cost/cache_seconds"],
        "wall_seconds": wall,
        "added_mb": peak_mb(runs[0]),
    }


if __name__ == "__main__":
    main()
