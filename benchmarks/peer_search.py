"""A search with the final model and its test, beside the same by bertuner, which is made of Optuna and MLflow, too.

python -m benchmarks.peer_search --peer-python bertuner/bin/python

Both get the same texts, encoder, range of rates, epochs, batches and number of trials, and all cores. In every round each
begins with nothing: no prepared data, no store. What differs all the same is said below the table.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.speed import describe_machine
from pipeline.evaluation.statistics.bootstrap import resample_scores

PEER = "bertuner==0.2.4"
SHARED = ("torch", "transformers", "accelerate", "datasets", "optuna", "mlflow")
"""Packages of which both are to have the same version."""
SENTENCES = {"train": 800, "validation": 200, "test": 852}
"""A thousand to search and train with; half of each are of either class."""
EPOCHS = 6
"""As many as bertuner trains: it has no option for them."""
DIFFERENCES = """\
- bertuner computes in float32 on every CPU, ours in what `--precision auto` measures to be faster.
- bertuner runs one trial after the other on all cores. Ours: see `--workers` above.
- bertuner trains every trial to its end. Ours: see `--pruner` above; halving ends the worse half after 1, 2 and 4 epochs.
- Rates come from the same range, but not the same rates: bertuner draws by TPE, whose first ten are random, ours at random.
- bertuner's final training is its best trial once more, with the same seed. `main` takes the best trial's model instead, and
  makes a table and a report, too.
- Tested is the more probable class. bertuner also tunes a threshold, which is left aside."""
_ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("bertuner_search.py")
_PR_SET_CHILD_SUBREAPER = 36


@click.command()
@click.option("--peer-python", required=True, help="Python of an environment that has bertuner.")
@click.option("--trials", default=2, show_default=True)
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1))
@click.option("--workers", default=2, show_default=True, help="Trials that ours runs at once; bertuner has no such option.")
@click.option("--pruner", default="none", show_default=True, help="Of ours, as `tune` has it; bertuner has no such option.")
@click.option("--share", default=1.0, show_default=True, help="Share of the sentences: below 1 to try the benchmark.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(peer_python: str, trials: int, rounds: int, workers: int, pruner: str, share: float, output: Path) -> None:
    """Measure both in turn; write peer_search.csv and peer_search.md into --output."""
    versions = check_peer(peer_python)
    adopt_orphans()
    size = ", ".join(f"{round(share * count)} for {split}" for split, count in SENTENCES.items())
    heading = (
        f"MiniLM, full: {trials} trials (ours with --workers {workers} --pruner {pruner}) of {EPOCHS} epochs, batches of 32, "
        f"the final model and its test. Sentences: {size}.\n{describe_machine()} {versions}."
    )
    measured: list[dict[str, Any]] = []
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        texts = Path(scratch) / "texts"
        model = write_texts(texts, share)
        gold = pd.read_csv(texts / "test.csv")["label"].to_numpy()
        for number in range(1, rounds + 1):
            for system in ("bertuner", "ours"):
                (folder := Path(scratch) / f"{number}-{system}").mkdir()
                if system == "ours":
                    found = search_ours(folder, texts, trials, workers, pruner)
                else:
                    found = search_theirs(folder, texts, trials, peer_python, model)
                measured.append({"round": number, "system": system, **found})
                print(", ".join(f"{key} {value}" for key, value in measured[-1].items() if key != "predicted"), flush=True)
            table = pd.DataFrame(measured)  # after each round: whoever ends it early keeps what is measured
            table.drop(columns="predicted").to_csv(output / "peer_search.csv", index=False)
            summary = f"{heading}\n\n{summarise(table, gold)}\n\n{DIFFERENCES}\n"
            (output / "peer_search.md").write_text(summary)
    print(summary)


def check_peer(python: str, peer: str = PEER, shared: Sequence[str] = SHARED) -> str:
    """Versions on both sides, in words.

    Args:
        peer: The package and its version, as pip has them.
        shared: What both have, and shall have in the same versions.

    Raises:
        click.BadParameter: There is no such Python, or it has no such package, or another version of it.
    """
    name = peer.partition("==")[0]
    names = (name, *shared)
    script = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    try:
        done = subprocess.run([python, "-c", script, *names], check=False, capture_output=True, text=True)
        found = dict(zip(names, map(_public, done.stdout.split()), strict=False))
    except OSError:
        found = {}
    ours = {name: _public(version(name)) for name in shared}
    if [f"{package}=={number}" for package, number in found.items()][:1] != [peer]:
        raise click.BadParameter(
            f"{python} is no Python that has {peer}. Make an environment for it: python -m venv {name}, then "
            f"{name}/bin/pip install {peer} {' '.join(f'{package}=={number}' for package, number in ours.items())}, "
            f"and give {name}/bin/python.",
            param_hint="--peer-python",
        )
    shown = ", ".join(f"{package} {number}" for package, number in found.items())
    other = [f"{package} {number}" for package, number in ours.items() if number != found[package]]
    return f"{name}'s environment: {shown}" + (f"; ours has other versions: {', '.join(other)}" if other else "")


def _public(number: str) -> str:
    """A version without the build that torch adds, such as `+cpu`."""
    return number.partition("+")[0]


def write_texts(folder: Path, share: float) -> str:
    """Write a file per split; returns the encoder's folder."""
    from pipeline.config import TrainConfig
    from pipeline.data.prepared import prepare
    from pipeline.modeling.model_sources import find_folder

    config = TrainConfig(dataset="rotten_tomatoes", cache_dir=str(folder.parent / "source"))
    prepared, _ = prepare(config.dataset, config)
    folder.mkdir()
    for split, count in SENTENCES.items():
        rows = prepared.read(split).groupby("label").sample(round(share * count) // 2, random_state=0)  # type: ignore[arg-type]
        rows[["text", "label"]].sample(frac=1, random_state=0).to_csv(folder / f"{split}.csv", index=False)
    return str(find_folder("minilm")[0])


def search_theirs(folder: Path, texts: Path, trials: int, python: str, model: str) -> dict[str, Any]:
    """The search, final training and test of bertuner."""
    done = folder / "done"
    settings = {**shared_settings(texts), "model": model, "texts": str(texts), "output": str(done), "trials": trials}
    wall, cpu, _ = run([python, str(SCRIPT), "search", json.dumps(settings)], folder)
    noted = json.loads((done / "search.json").read_text())
    _, _, shown = run([python, str(SCRIPT), "predict", str(done), str(texts)], folder)  # its own scores are of a threshold
    return {
        "search": wall - noted["final"],
        "final": noted["final"],
        "wall": wall,
        "cpu": cpu,
        "rate": noted["rate"],
        "predicted": json.loads(shown.splitlines()[-1]),
    }


def search_ours(folder: Path, texts: Path, trials: int, workers: int, pruner: str) -> dict[str, Any]:
    """The command `main` with a search: the model of its best trial is the row, tested and reported."""
    from pipeline import load_results

    options = {
        **our_options(texts),
        "tune": "true",
        "trials": str(trials),
        "workers": str(workers),
        "pruner": pruner,
        "seeds": "1",
        "latency_seconds": "0",
    }
    options["strategies"] = options.pop("strategy")
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    began = time.time()
    wall, cpu, _ = run([sys.executable, "-m", "pipeline", "main", *words], folder)
    runs = load_results(f"sqlite:///{folder / 'mlflow.db'}")
    if ((runs["stage"] == "train") & runs["trial"].isna()).any():
        raise click.ClickException("The best trial was not taken, but trained again: the benchmark says otherwise.")
    [(_, search)] = runs[runs["stage"] == "tune"].iterrows()
    predicted = next(file for file in (folder / "mlruns").rglob("predictions.csv") if search["best_run_id"] in file.parts)
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        [(ended,)] = store.execute("SELECT end_time / 1e3 FROM runs WHERE run_uuid = ?", [search["run_id"]])
    searched = ended - began
    return {
        "search": searched,
        "final": wall - searched,
        "wall": wall,
        "cpu": cpu,
        "rate": float(search["best_learning_rate"]),
        "predicted": pd.read_csv(predicted)["pred"].tolist(),
    }


def our_options(texts: Path) -> dict[str, str]:
    """What is typed, as `tune` has it."""
    options = {"strategy": "full", "dataset": texts, "split": "official", "model": "minilm", "epochs": EPOCHS}
    return {name: str(value) for name, value in options.items()}


def shared_settings(texts: Path) -> dict[str, Any]:
    """What these options come to, with recipe and defaults, in the words of `bertuner_search.py`."""
    from pipeline.config import TuneConfig
    from pipeline.stages.configure import configure, resolve_strategy
    from pipeline.training.setup import search_space

    config = resolve_strategy(configure(TuneConfig, our_options(texts)))
    low, high = search_space(config)["learning_rate"].probes()
    return {
        "low": low,
        "high": high,
        "batch_size": config.batch_size,
        "weight_decay": config.weight_decay,
        "warmup_ratio": config.warmup_ratio,
        "scheduler": config.lr_scheduler_type,
        "dropout": config.dropout,
        "patience": config.early_stopping_patience or EPOCHS,  # of so many epochs: never
        "max_length": config.max_length,
        "max_grad_norm": config.max_grad_norm,
        "metric": config.metric_for_best_model,
        "seed": config.seed,
    }


def adopt_orphans() -> None:
    """Have processes whose parent ends become our children: else the processor time of forked trainings is nobody's."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise click.ClickException("Processor time of forked processes cannot be measured here: prctl failed.")


def run(command: Sequence[str], folder: Path) -> tuple[float, float, str]:
    """Seconds by the clock and of the processor, with all that it forks, and standard output of a command that must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "HF_HUB_OFFLINE": "1"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    wall = time.perf_counter() - began
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    try:
        while True:
            os.wait()  # what it left behind ends with it
    except ChildProcessError:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def summarise(table: pd.DataFrame, gold: NDArray[np.int64]) -> str:
    """Two tables: seconds (medians) with ratios (minimum, median, maximum over the rounds), and scores of the first round.

    Args:
        table: A row per round and system, as `search_theirs` and `search_ours` give them.
        gold: Classes of the test texts.
    """
    theirs, ours = (table[table["system"] == system].set_index("round") for system in ("bertuner", "ours"))
    pairs = {
        "clock": (theirs["wall"], ours["wall"]),
        "clock, without bertuner's final training": (theirs["wall"] - theirs["final"], ours["wall"]),
        "processor": (theirs["cpu"], ours["cpu"]),
    }
    seconds = [
        {
            "seconds of": title,
            "bertuner": f"{peer.median():.1f}",
            "ours": f"{own.median():.1f}",
            "bertuner / ours": _spread(peer / own),
        }
        for title, (peer, own) in pairs.items()
    ]
    predicted = np.array([theirs["predicted"].iloc[0], ours["predicted"].iloc[0]])
    scores = resample_scores(gold, predicted, classes=2)
    peer, own, gap = (scores.estimate([np.array([part])])["f1_macro"] for part in ([1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]))
    interval, difference = own.interval(lowest=0.0), gap.interval()
    tested = {
        "macro F1 of bertuner": f"{peer.value:.4f}",
        "of ours": f"{own.value:.4f}",
        "95 % interval of ours": f"{interval.low:.3f} to {interval.high:.3f}",
        "bertuner's in it": "yes" if interval.low <= peer.value <= interval.high else "no",
        "ours - bertuner, points": f"{100 * gap.value:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})",
        "rate of bertuner": f"{theirs['rate'].iloc[0]:.2g}",
        "rate of ours": f"{ours['rate'].iloc[0]:.2g}",
    }
    return "\n\n".join(str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)) for rows in (seconds, [tested]))


def _spread(ratios: pd.Series) -> str:
    return f"**{ratios.median():.1f}** ({ratios.min():.1f} to {ratios.max():.1f})"


if __name__ == "__main__":
    main()
