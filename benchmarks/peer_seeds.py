"""Whether ours tests as well as bertuner's: the same settings with several seeds, ours in two precisions.

python -m benchmarks.peer_seeds --peer-python bertuner/bin/python

Texts, encoder, epochs and batches are those of `benchmarks.peer_search`; the rate is fixed. Nothing is timed, so other work may
run beside it. A seed means another order and head in each system: differences are of means of independent trainings.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import f1_score

from benchmarks.peer_search import SCRIPT, check_peer, our_options, run, shared_settings, write_texts

OURS = {"bf16": "ours, bf16", "fp32": "ours, fp32"}
"""`--precision` -> what the system is called."""
PEER = "bertuner, fp32"


@click.command()
@click.option("--peer-python", required=True, help="Python of an environment that has bertuner.")
@click.option("--seeds", default=6, show_default=True, type=click.IntRange(2))
@click.option("--rate", default=1.75e-4, show_default=True, help="Learning rate; by default what both searches found.")
@click.option("--share", default=1.0, show_default=True, help="Share of the sentences: below 1 to try the benchmark.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(peer_python: str, seeds: int, rate: float, share: float, output: Path) -> None:
    """Train and test with each system and seed; write peer_seeds.csv into --output."""
    print(check_peer(peer_python), flush=True)
    output.mkdir(parents=True, exist_ok=True)
    measured: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, texts = Path(scratch), Path(scratch) / "texts"
        model = write_texts(texts, share)
        for precision, system in OURS.items():
            scores = list(train_ours(folder, texts, range(seeds), rate, precision))
            measured += [{"system": system, "seed": seed, "f1": score} for seed, score in enumerate(scores)]
            pd.DataFrame(measured).to_csv(output / "peer_seeds.csv", index=False)
        for seed in range(seeds):
            score = train_theirs(folder / f"bertuner-{seed}", texts, seed, rate, peer_python, model)
            measured.append({"system": PEER, "seed": seed, "f1": score})
            pd.DataFrame(measured).to_csv(output / "peer_seeds.csv", index=False)
    print(summarise(pd.DataFrame(measured)))


def train_ours(folder: Path, texts: Path, seeds: range, rate: float, precision: str) -> Iterator[float]:
    """Macro F1 on the test texts, by seed."""
    from pipeline import load_results

    (own := folder / precision).mkdir()
    options = {**our_options(texts), "learning_rate": str(rate), "precision": precision}
    options |= {"strategies": options.pop("strategy"), "seed": str(seeds.start), "seeds": str(len(seeds))}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    run([sys.executable, "-m", "pipeline", "main", *words], own)
    runs = load_results(f"sqlite:///{own / 'mlflow.db'}")
    yield from runs[runs["stage"] == "train"].astype({"seed": int}).sort_values("seed")["test/f1_macro"]


def train_theirs(folder: Path, texts: Path, seed: int, rate: float, python: str, model: str) -> float:
    """The same of bertuner, with one seed."""
    folder.mkdir()
    done = folder / "done"
    given = {**shared_settings(texts), "model": model, "texts": str(texts), "output": str(done), "seed": seed, "low": rate}
    run([python, str(SCRIPT), "train", json.dumps(given)], folder)
    _, _, shown = run([python, str(SCRIPT), "predict", str(done), str(texts)], folder)
    gold = pd.read_csv(texts / "test.csv")["label"]
    return float(f1_score(gold, json.loads(shown.splitlines()[-1]), average="macro"))


def summarise(table: pd.DataFrame) -> str:
    """A row per system; differences to bertuner with Welch's 95 % interval, in points."""
    scores = {system: 100 * rows["f1"].to_numpy() for system, rows in table.groupby("system", sort=False)}
    rows = []
    for system, values in scores.items():
        difference = values.mean() - scores[PEER].mean()
        interval = stats.ttest_ind(values, scores[PEER], equal_var=False).confidence_interval()
        rows.append(
            {
                "system": system,
                "macro F1 by seed": " ".join(f"{value:.1f}" for value in values),
                "mean": f"{values.mean():.2f}",
                "standard deviation": f"{np.std(values, ddof=1):.2f}",
                "less bertuner": "" if system == PEER else f"{difference:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})",
            }
        )
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
