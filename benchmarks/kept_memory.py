"""What it brings on a CPU that glibc keeps freed memory: seconds of steps and of all the rest, and peak memory.

python -m benchmarks.kept_memory --repeats 3

The rest of a training is its validations, mostly. Both settings take turns, each training in a process of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import click
import pandas as pd

SETTINGS = {"glibc's own": "glibc.malloc.tcache_count=7", "kept": ""}
"""GLIBC_TUNABLES: with any, here with its default, nothing is changed."""


@click.command()
@click.option("--strategies", default="full,lora,partial", show_default=True, help="Separated by commas.")
@click.option("--model", default="minilm", show_default=True)
@click.option("--dataset", default="rotten_tomatoes", show_default=True)
@click.option("--rows", default=512, show_default=True, help="Texts to train on, three times.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--cache-dir", default=".cache", show_default=True)
def main(strategies: str, model: str, dataset: str, rows: int, repeats: int, cache_dir: str) -> None:
    """Print medians, and the ratio of each pair of trainings."""
    if given := [name for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_") if os.environ.get(name)]:
        raise click.UsageError(f"{' and '.join(given)}: with that nothing is kept. Unset it.")
    shared = {"model": model, "dataset": dataset, "max_train_samples": rows, "epochs": 3, "cache_dir": cache_dir}
    for name in ("peft", "transformers", "pipeline.stages.train"):
        importlib.import_module(name)  # not counted as a cost of each training
    measured = []
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as processes:
        processes.apply(measure, [{**shared, "strategy": "head_only"}, ""])  # prepares the data
        for repeat in range(repeats):
            for strategy in strategies.split(","):
                for setting, tunables in SETTINGS.items():
                    found = processes.apply(measure, [{**shared, "strategy": strategy}, tunables])
                    measured.append({"strategy": strategy, "setting": setting, "repeat": repeat, **found})
    table = pd.DataFrame(measured).set_index(["strategy", "setting", "repeat"])
    print(table.groupby(level=["strategy", "setting"], sort=False).median().to_markdown(floatfmt=".2f"))
    own, kept = (table.xs(setting, level="setting") for setting in SETTINGS)
    print("\nkept / glibc's own:\n")
    print((kept / own).groupby("strategy", sort=False).agg(["median", "min", "max"]).to_markdown(floatfmt=".2f"))


def measure(options: dict[str, object], tunables: str) -> dict[str, float]:
    """What the run of `train` itself logs."""
    os.environ["GLIBC_TUNABLES"] = tunables
    from pipeline.config import TrainConfig
    from pipeline.stages import train
    from pipeline.tracking.memory import MemoryTracker

    tracker = MemoryTracker()
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        result = train.run(TrainConfig(**options), tracker, model_folder=Path(scratch) / "model")  # type: ignore[arg-type]
    metrics = tracker.get(result.run_id).metrics
    steps = metrics["cost/train_seconds"]
    return {"steps": steps, "rest": metrics["cost/wall_seconds"] - steps, "peak MB": metrics["cost/peak_rss_mb"]}


if __name__ == "__main__":
    main()
