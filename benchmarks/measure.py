"""One training by one system, measured in this process alone; prints one line of JSON.

python -m benchmarks.measure ours partial --dataset rotten_tomatoes --rows 3200
"""

from __future__ import annotations

import contextlib
import json
import sys
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
        "added_mb": run.metrics["cost/peak_rss_mb"],
        "one_off_seconds": run.metrics["cost/cache_seconds"],
        "accuracy": result.validation["accuracy"],
    }


if __name__ == "__main__":
    main()
