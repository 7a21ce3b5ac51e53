"""Whether ours tests as well as the package setfit: the same few labelled sentences, several seeds.

python -m benchmarks.setfit --peer-python setfit/bin/python

Each seed draws other sentences, the same for both, so that a difference is of pairs of trainings. Settings are the package's
defaults, which are ours, too; both have the same bound on pairs. Nothing is timed, so other work may run beside it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import click
import pandas as pd
from scipy import stats

from benchmarks.peer_search import check_peer, run
from pipeline.strategies.methods.setfit import Setfit

PEER = "setfit==1.2.0"
_SHARED = ("torch", "transformers", "datasets", "scikit-learn")
_SCRIPT = Path(__file__).with_name("setfit_package.py")
_MAX_LENGTH = 128
_VALIDATION = 100
"""Texts that our command asks for; nothing is chosen by them."""


@click.command()
@click.option("--peer-python", required=True, help=f"Python of an environment that has {PEER}.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(2))
@click.option("--sizes", default="8,16,64", show_default=True, help="Sentences of each class.")
@click.option("--max-pairs", default=Setfit().max_pairs, show_default=True, help="Bound on pairs, for both.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(peer_python: str, seeds: int, sizes: str, max_pairs: int, output: Path) -> None:
    """Train and test with each system, size and seed; write setfit.csv into --output and print the table."""
    print(check_peer(peer_python, PEER, _SHARED), flush=True)
    output.mkdir(parents=True, exist_ok=True)
    measured: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in map(int, sizes.split(",")):
            folders = [Path(scratch) / f"{size}-{seed}" for seed in range(seeds)]
            for seed, folder in enumerate(folders):
                model = write_texts(folder / "texts", size, seed)
            theirs = test_theirs(folders, size, max_pairs, peer_python, model)
            ours = [test_ours(folder, seed, max_pairs) for seed, folder in enumerate(folders)]
            for system, scores in (("package", theirs), ("ours", ours)):
                measured += [
                    {"a class": size, "system": system, "seed": seed, "accuracy": score} for seed, score in enumerate(scores)
                ]
            pd.DataFrame(measured).to_csv(output / "setfit.csv", index=False)
            print(summarise(pd.DataFrame(measured)), flush=True)


def write_texts(folder: Path, size: int, seed: int) -> str:
    """So many Rotten Tomatoes sentences of each class, and all that are for testing; returns the encoder's folder."""
    from pipeline.config import TrainConfig
    from pipeline.data.prepared import prepare
    from pipeline.modeling.model_sources import find_folder

    config = TrainConfig(dataset="rotten_tomatoes", cache_dir=str(folder.parents[1] / "source"))
    prepared, _ = prepare(config.dataset, config)
    folder.mkdir(parents=True)
    parts = {
        "train": prepared.read("train").groupby("label").sample(size, random_state=seed),  # type: ignore[arg-type]
        "validation": prepared.read("validation").sample(_VALIDATION, random_state=0),
        "test": prepared.read("test"),
    }
    for part, rows in parts.items():
        named = rows.assign(label=[prepared.manifest.classes[label] for label in rows["label"]])
        named[["text", "label"]].to_csv(folder / f"{part}.csv", index=False)
    return str(find_folder("minilm")[0])


def test_theirs(folders: list[Path], size: int, max_pairs: int, python: str, model: str) -> list[float]:
    """Accuracy of the package on the test texts, by seed."""
    every = 2 * size * (size + 1)  # of two classes, the rarer kind repeated
    bound = max_pairs if every > max_pairs else 0
    trainings = [{"texts": str(folder / "texts"), "seed": seed, "bound": bound} for seed, folder in enumerate(folders)]
    settings = {"model": model, "max_length": _MAX_LENGTH, "trainings": trainings}
    # -P: else this file would be the `setfit` that the script imports.
    _, _, shown = run([python, "-P", str(_SCRIPT), json.dumps(settings)], folders[0])
    predicted = json.loads(shown.splitlines()[-1])
    gold = [pd.read_csv(folder / "texts" / "test.csv")["label"] for folder in folders]
    return [float((labels == answers).mean()) for labels, answers in zip(gold, predicted, strict=True)]


def test_ours(folder: Path, seed: int, max_pairs: int) -> float:
    """Accuracy of our strategy on the test texts, by the stage `train` in this process."""
    from pipeline.config import TrainConfig
    from pipeline.stages import train
    from pipeline.stages.configure import configure
    from pipeline.tracking.memory import MemoryTracker
    from pipeline.training.saved_model import load_model_folder

    given = {
        "strategy": "setfit",
        "strategy_args": f"max_pairs={max_pairs}",
        "dataset": str(folder / "texts"),
        "split": "official",
    }
    given |= {"model": "minilm", "seed": str(seed), "max_length": str(_MAX_LENGTH), "cache_dir": str(folder / "cache")}
    with contextlib.redirect_stdout(sys.stderr):
        train.run(configure(TrainConfig, given), tracker=MemoryTracker(), model_folder=folder / "model")
    model = load_model_folder(folder / "model")
    tested = pd.read_csv(folder / "texts" / "test.csv")
    answers = model.predict(tested["text"].tolist()).argmax(1)
    return float((tested["label"] == [model.classes[answer] for answer in answers]).mean())


def summarise(table: pd.DataFrame) -> str:
    """A row per size: mean and standard deviation of both over the seeds, and the difference with its 95 % interval."""
    rows = []
    for size, own in table.groupby("a class"):
        scores = own.pivot(index="seed", columns="system", values="accuracy")
        gap = 100 * (scores["ours"] - scores["package"])
        half = stats.t.ppf(0.975, len(gap) - 1) * gap.std() / len(gap) ** 0.5
        inside = scores["package"].min() <= scores["ours"].mean() <= scores["package"].max()
        rows.append(
            {
                "sentences a class": size,
                "package": f"{scores['package'].mean():.3f} ± {scores['package'].std():.3f}",
                "ours": f"{scores['ours'].mean():.3f} ± {scores['ours'].std():.3f}",
                "ours - package, points": f"{gap.mean():+.1f} ({gap.mean() - half:+.1f} to {gap.mean() + half:+.1f})",
                "our mean within the package's seeds": "yes" if inside else "no",
            }
        )
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
