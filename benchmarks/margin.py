"""Margin of a recipe's learning rates: who learns with other seeds, at half and double the rate, with other rounding.

python -m benchmarks.margin --workers 2

Each training has a process of its own and a line in --output as soon as it ends; what stands there is not trained again unless
settings or code have changed. A row has learned if the 95 % interval of its validation accuracy (Wilson's) lies above the share
of the most frequent class. Test data are not read.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import pandas as pd

from pipeline.recipes.recipe import load_recipe
from pipeline.strategies.baseline import is_baseline

NATIVE = "native"
"""The widest vectors that the CPU has; other values are those of ATEN_CPU_CAPABILITY."""

KEY = ["settings", "code", "entry", "seed", "cpu_capability", "threads"]
"""The rate is in the settings, so what was half of one rate is found when it is twice another."""


@dataclass(frozen=True)
class Training:
    """One training of a recipe's row."""

    entry: str
    factor: float
    """Of the recipe's learning rate."""
    seed: int
    """Counted from the recipe's first."""
    cpu_capability: str = NATIVE


@click.command()
@click.option("--recipe", default="quickstart", show_default=True)
@click.option("--strategies", help="Entries of the recipe, separated by commas; all that have a rate if not given.")
@click.option("--seeds", default=5, show_default=True, help="How many at the recipe's own rate.")
@click.option("--factors", default="0.5,2", show_default=True, help="Of the rate; each is tried with the first seed.")
@click.option("--capabilities", default="avx2,default", show_default=True, help="Values of ATEN_CPU_CAPABILITY, first seed.")
@click.option("--rounding-strategies", default="prefix", show_default=True, help="Entries to try with these.")
@click.option("--max-train-samples", type=int)
@click.option("--max-eval-samples", type=int)
@click.option("--epochs", type=int)
@click.option("--threads", default=1, show_default=True, help="Of one training.")
@click.option("--workers", default=2, show_default=True, help="Trainings at once.")
@click.option("--cache-dir", default=".cache", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/margin.csv"), show_default=True)
def main(
    recipe: str,
    strategies: str | None,
    seeds: int,
    factors: str,
    capabilities: str,
    rounding_strategies: str,
    threads: int,
    workers: int,
    cache_dir: str,
    output: Path,
    **limits: int | None,
) -> None:
    """Train what --output does not hold yet, and print the table of all."""
    settings = load_recipe(recipe)
    rated = [entry for entry in settings.strategies if not is_baseline(settings.strategy_of(entry))]
    entries = rated if strategies is None else strategies.split(",")
    wanted = plan(
        entries,
        seeds,
        [float(factor) for factor in factors.split(",") if factor],
        [name for name in capabilities.split(",") if name],
        rounding_strategies.split(","),
    )
    shared = {"recipe": recipe, "cache_dir": cache_dir, "precision": "fp32", **{k: v for k, v in limits.items() if v}}
    keys = {training: key_of(training, shared, threads) for training in wanted}
    measured = read_measured(output)
    missing = [training for training in wanted if keys[training] not in measured]
    output.parent.mkdir(parents=True, exist_ok=True)
    # Spawned, and one training each: what a process rounds with is settled when it first imports torch.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = [pool.submit(train, training, shared, threads) for training in missing]
        for done in as_completed(running):
            row = done.result()
            append(output, row)
            print(describe(row), flush=True)
    measured = read_measured(output)
    table = pd.DataFrame([{**measured[key], "factor": training.factor} for training, key in keys.items()])
    print(tabulate(table))


def plan(
    entries: Sequence[str], seeds: int, factors: Sequence[float], capabilities: Sequence[str], rounding: Sequence[str]
) -> list[Training]:
    """The first seed of every row at its rate, then at the other rates, then the other seeds, then other ways to round."""
    return [
        *(Training(entry, 1.0, 0) for entry in entries),
        *(Training(entry, factor, 0) for factor in factors for entry in entries),
        *(Training(entry, 1.0, seed) for seed in range(1, seeds) for entry in entries),
        *(Training(entry, 1.0, 0, name) for name in capabilities for entry in entries if entry in rounding),
    ]


def configured(training: Training, shared: dict[str, Any]) -> Any:
    """The options of `train`, as `--recipe` and these would set them."""
    from pipeline.config import TrainConfig
    from pipeline.stages.configure import configure

    given = {**shared, "strategy": training.entry}
    recipes = configure(TrainConfig, given)
    changed = {"seed": recipes.seed + training.seed, "learning_rate": recipes.learning_rate * training.factor}
    return configure(TrainConfig, {**given, **changed})


def key_of(training: Training, shared: dict[str, Any], threads: int) -> tuple[str, ...]:
    """What must be equal for a line of the file to stand for the training."""
    from pipeline.config.identity import settings_hash
    from pipeline.training.setup import find_inputs

    inputs = find_inputs(configured(training, shared))
    settings = settings_hash(inputs.config)
    values = (training.entry, training.seed, training.cpu_capability, threads)
    return tuple(str(value) for value in (settings, inputs.code_version, *values))


def train(training: Training, shared: dict[str, Any], threads: int) -> dict[str, Any]:
    """Train, in a process that has not imported torch; returns the row for the file."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if training.cpu_capability != NATIVE:
        os.environ["ATEN_CPU_CAPABILITY"] = training.cpu_capability
    import torch

    from pipeline.evaluation.statistics.intervals import wilson_interval
    from pipeline.stages import train as stage
    from pipeline.stages.progress import count_classes
    from pipeline.tracking.memory import MemoryTracker
    from pipeline.tracking.provenance import hardware
    from pipeline.training.setup import find_inputs, read_texts

    torch.set_num_threads(threads)
    config, tracker = configured(training, shared), MemoryTracker()
    with tempfile.TemporaryDirectory() as scratch:
        result = stage.run(config, tracker, model_folder=Path(scratch) / "model")
    inputs = find_inputs(config)
    counts = count_classes(read_texts(inputs).validation.labels, inputs.prepared.manifest.classes)
    texts = sum(counts)
    accuracy = wilson_interval(round(result.validation["accuracy"] * texts), texts)
    majority = max(counts) / texts
    return {
        **dict(zip(KEY, key_of(training, shared, threads), strict=True)),
        "learning_rate": config.learning_rate,
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "majority": majority,
        "learned": accuracy.low > majority,
        "f1_macro": result.validation["f1_macro"],
        "loss": result.validation["loss"],
        "train_seconds": tracker.get(result.run_id).metrics["cost/train_seconds"],
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "hardware": hardware(),
    }


def read_measured(file: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """Key -> row of the file; empty where there is none."""
    if not file.exists():
        return {}
    table = pd.read_csv(file, dtype=dict.fromkeys(KEY, str))
    return {tuple(row[name] for name in KEY): row for row in table.to_dict("records")}


def append(file: Path, row: dict[str, Any]) -> None:
    """Add a line, below a header where the file is new."""
    is_new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, fieldnames=list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def describe(row: dict[str, Any]) -> str:
    """A line for whoever watches."""
    return (
        f"{row['entry']:10} rate {row['learning_rate']:g} seed {row['seed']} {row['cpu_capability']}: accuracy "
        f"{row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {'learned' if row['learned'] else 'DID NOT LEARN'}, "
        f"{row['train_seconds']:.0f} s"
    )


def tabulate(measured: pd.DataFrame) -> str:
    """A row per entry, a column per way of training it: validation accuracy, its range over seeds, and who did not learn."""
    rows = []
    for entry, found in measured.groupby("entry", sort=False):
        native = found[found.cpu_capability == NATIVE]
        at_rate = native[native.factor == 1]
        row = {"strategy": entry, "rate": f"{at_rate.learning_rate.iloc[0]:g}", "at the rate": say_scores(at_rate)}
        for factor in sorted({*native.factor} - {1.0}):
            row[f"{factor:g} times the rate"] = say_scores(native[native.factor == factor])
        for name, other in found[found.cpu_capability != NATIVE].groupby("cpu_capability", sort=False):
            row[str(name)] = say_scores(other)
        rows.append(row)
    return str(pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True))


def say_scores(rows: pd.DataFrame) -> str:
    """Accuracies from the lowest to the highest, and how many learned."""
    low, high = rows.accuracy.min(), rows.accuracy.max()
    scores = f"{low:.3f}" if len(rows) == 1 else f"{low:.3f} to {high:.3f}"
    learned = int(rows.learned.sum())
    return scores if learned == len(rows) else f"{scores}; {learned} of {len(rows)} learned"


if __name__ == "__main__":
    main()
