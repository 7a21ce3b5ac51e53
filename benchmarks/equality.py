"""Whether the faster training is as good: paired over seeds, accuracy on validation data against the Trainer's.

python -m benchmarks.equality --strategy full --rows 8000 --seeds 5
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.measure import RATES
from benchmarks.speed import measure

SYSTEMS = ("trainer", "ours")


@click.command()
@click.option("--strategy", type=click.Choice(sorted(RATES)), default="full", show_default=True)
@click.option("--model", default="minilm", show_default=True)
@click.option("--dataset", default="sst2", show_default=True)
@click.option("--rows", default=8000, show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--cache-dir", default=".cache", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(strategy: str, model: str, dataset: str, rows: int, seeds: int, cache_dir: str, output: Path) -> None:
    """Train --strategy with both systems once per seed, and say how far the mean accuracies are apart."""
    measured = []
    for seed in range(seeds):
        for system in SYSTEMS:
            options = {"--model": model, "--dataset": dataset, "--rows": rows, "--seed": seed, "--cache-dir": cache_dir}
            found = measure(system, strategy, {**options, "--evaluates": ""})
            print(
                f"seed {seed}: {system:8} {found['accuracy']:.4f}, {1000 * found['seconds_per_step']:.0f} ms per step",
                flush=True,
            )
            measured.append(found)
    table = pd.DataFrame(measured)
    output.mkdir(parents=True, exist_ok=True)
    table.to_csv(output / f"equality-{strategy}.csv", index=False)
    print(summarise(table))


def summarise(table: pd.DataFrame) -> str:
    """The mean paired difference with its 95 % interval (Student's t), in points."""
    accuracy = table.pivot(index="seed", columns="system", values="accuracy")
    difference = 100 * (accuracy["ours"] - accuracy["trainer"]).to_numpy()
    low, high = stats.t.interval(0.95, len(difference) - 1, difference.mean(), stats.sem(difference))
    means = 100 * accuracy.mean()
    return (
        f"Accuracy over {len(difference)} seeds: ours {means['ours']:.2f}, Trainer {means['trainer']:.2f}; "
        f"difference {np.mean(difference):+.2f} points (95 % interval {low:+.2f} to {high:+.2f})."
    )


if __name__ == "__main__":
    main()
