"""Learning curves of strategies on several data sets: the table by which `--strategy auto` chooses where no study is stored.

python -m benchmarks.auto_table --sst2 train.tsv

Scores are macro F1 on validation data; test data are not opened. Each seed draws another split, and so other texts to train on.
The last checkpoint is scored, none selected. Rates are those of the quick start's recipe, not tuned; heads pool the mean.
What was trained stands in OUTPUT/auto_runs.csv, so that the command can be ended and goes on; the table is made of that.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pandas as pd

STRATEGIES = ("tfidf", "head_only", "linear_probe", "bitfit", "lora", "full", "setfit")
EPOCHS = {32: 10, 128: 8, 512: 4, 2048: 2}
"""Training texts -> passes over them: fewer texts need more, and none of them 10 at 2,048."""
MAX_LENGTH = {"IMDB": 32}
"""Tokens, where a data set's texts are so long that it decides the time; elsewhere 64."""
_ARGUMENTS = {"setfit": "max_pairs=1024"}
"""Half of what it has by default: pairs decide the time."""
_ROWS, _VALIDATION = 4000, 400
_TABLE = Path(__file__).parents[1] / "pipeline" / "stages" / "auto" / "table.csv"
_SAME = ["data_set", "classes", "mean_words", "model", "max_length", "strategy", "strategy_args", "train_size", "epochs"]
_SAME += ["batch_size", "learning_rate", "head"]


@click.command()
@click.option(
    "--sst2", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="SST-2's train.tsv; else without it."
)
@click.option("--sizes", default="32,128,512", show_default=True, help="Training texts.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1))
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(sst2: Path | None, sizes: str, seeds: int, output: Path) -> None:
    """Train what is not trained yet, and write the table."""
    output.mkdir(parents=True, exist_ok=True)
    log = (output / "auto_runs.csv").resolve()
    done = _read(log).to_dict("records") if log.exists() else []
    known = {(row["data_set"], row["strategy"], row["train_size"], row["seed"]) for row in done}
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        data_sets = dict(write_data_sets(sst2))
        for seed in range(seeds):
            for size in map(int, sizes.split(",")):
                for name, file in data_sets.items():
                    for strategy in STRATEGIES:
                        if (name, strategy, size, seed) not in known:
                            done.append({"data_set": name, **train(name, file, strategy, size, seed)})
                            pd.DataFrame(done).to_csv(log, index=False)
                            print(*done[-1].values(), file=sys.stderr, flush=True)
    summarise(_read(log)).to_csv(_TABLE, index=False)


def _read(log: Path) -> pd.DataFrame:
    """What was trained so far; whole numbers stay whole beside empty cells."""
    return pd.read_csv(log, dtype={"epochs": "Int64", "batch_size": "Int64"})


def write_data_sets(sst2: Path | None) -> Iterator[tuple[str, Path]]:
    """Name and file of each data set: so many texts of its train part, drawn once."""
    from pipeline.config import TrainConfig
    from pipeline.data.prepared import prepare

    for name, shown in (("rotten_tomatoes", "Rotten Tomatoes"), ("imdb", "IMDB")):
        config = TrainConfig(dataset=name, cache_dir="source")
        prepared, _ = prepare(name, config)
        rows = prepared.read("train").sample(_ROWS, random_state=0)
        named = rows.assign(label=[prepared.manifest.classes[label] for label in rows["label"]])
        named[["text", "label"]].to_csv(f"{name}.csv", index=False)
        yield shown, Path(f"{name}.csv")
    if sst2:
        rows = pd.read_csv(sst2, sep="\t", quoting=3).rename(columns={"sentence": "text"})[["text", "label"]]
        rows.sample(_ROWS, random_state=0).to_csv("sst2.csv", index=False)
        yield "SST-2", Path("sst2.csv")


def train(name: str, file: Path, strategy: str, size: int, seed: int) -> dict[str, object]:
    """One training, with its score on validation data."""
    from pipeline.config import TrainConfig
    from pipeline.stages import train as stage
    from pipeline.stages.configure import configure
    from pipeline.tracking.memory import MemoryTracker

    given = {"strategy": strategy, "dataset": str(file), "max_train_samples": str(size), "max_eval_samples": str(_VALIDATION)}
    arguments, length = _ARGUMENTS.get(strategy, ""), MAX_LENGTH.get(name, 64)
    given |= {"seed": str(seed), "split_seed": str(seed), "max_length": str(length), "model": "minilm", "head": "mean"}
    given |= {"strategy_args": arguments} if arguments else {}
    if strategy != "setfit":  # which has its own
        given |= {"epochs": str(EPOCHS[size]), "batch_size": "16"}
    if strategy == "tfidf":
        given = {
            name: value for name, value in given.items() if name not in ("max_length", "model", "head", "epochs", "batch_size")
        }
    config = configure(TrainConfig, {**given, "eval_steps": str(10**6)} if strategy != "tfidf" else given)
    tracker, began = MemoryTracker(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        result = stage.run(config, tracker=tracker, model_folder=Path(folder) / "model")
    run = tracker.get(result.run_id)
    words = pd.read_csv(file)["text"].str.split().str.len().mean()
    return {
        "classes": 2,
        "mean_words": round(words),
        "model": "minilm",
        "max_length": length,
        "strategy": strategy,
        "strategy_args": arguments,
        "train_size": size,
        "epochs": run.params.get("epochs", ""),
        "batch_size": run.params.get("batch_size", ""),
        "learning_rate": run.params.get("learning_rate", "") if strategy != "linear_probe" else "",
        "head": run.params.get("head", ""),
        "seed": seed,
        "f1_macro": result.validation["f1_macro"],
        "seconds": run.metrics["cost/train_seconds"],
        "wall_seconds": time.perf_counter() - began,
    }


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per data set, size and strategy, with mean and standard deviation over the seeds."""
    grouped = runs.groupby(_SAME, dropna=False, sort=False)
    return (
        grouped.agg(
            seeds=("seed", "count"), f1_macro=("f1_macro", "mean"), f1_macro_sd=("f1_macro", "std"), seconds=("seconds", "mean")
        )
        .round(4)
        .reset_index()
    )


if __name__ == "__main__":
    main()
