"""The same as `coverage` for texts with any number of labels.

python -m benchmarks.coverage_sets --output docs/explanation/coverage_sets.csv

A text has each of six labels by chance, frequent and rare ones. For every label it is more or less difficult: in part for all
models, in part for those of one strategy, the rest is chance; some texts are difficult for all labels. A model finds a label
that is there with one probability and leaves out one that is not with another; each seed shifts both. Both strategies are
equally good.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.evaluation.statistics.bootstrap import resample_scores
from pipeline.evaluation.statistics.intervals import estimate
from pipeline.evaluation.statistics.significance import combine_dependent, count_wins, exact_mcnemar

SHARES = np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0.03])
"""Of the texts that have each label."""
FOUND, LEFT_OUT = 0.75, 0.95
"""How often a label that is there is given, and one that is not is left out."""
OF_TEXT = 0.2
"""Part of the difficulty that a text has for all labels."""
WITHIN = 0.5
"""Part of what is not shared by all models that the seeds of a strategy share."""
_SEEDS_DRAWN = 20_000  # to know what a strategy reaches over all seeds
_FEWEST_DISCORDANT = 25  # as in `comparison.statistics`


@dataclass(frozen=True)
class Setting:
    """One kind of study."""

    texts: int
    seeds: int
    shared: float
    """Correlation of difficulties between strategies."""
    seed_points: float
    """Standard deviation over seeds of a strategy's macro F1, in points."""


@click.command()
@click.option("--texts", default="853", show_default=True, help="Test texts, separated by commas.")
@click.option("--seeds", default="1,2,3,5", show_default=True)
@click.option("--shared", default="0.9", show_default=True, help="Correlations of difficulties between strategies.")
@click.option("--seed-points", default="0,0.5,1", show_default=True, help="Spread over seeds, in points of macro F1.")
@click.option("--studies", default=600, show_default=True, help="Simulated studies per line.")
@click.option("--resamples", default=400, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("coverage_sets.csv"), show_default=True)
def main(texts: str, seeds: str, shared: str, seed_points: str, studies: int, resamples: int, output: Path) -> None:
    """Print a line per kind of study, and write them into --output."""
    rows = []
    spreads = [float(value) for value in seed_points.split(",")]
    for size, count, correlation in product(
        map(int, texts.split(",")), map(int, seeds.split(",")), map(float, shared.split(","))
    ):
        for spread in spreads if count > 1 else [0.0]:
            began = time.perf_counter()
            rows.append(measure(Setting(size, count, correlation, spread), studies, resamples))
            print(
                " ".join(f"{name}={value:g}" for name, value in rows[-1].items()),
                f"{time.perf_counter() - began:.0f}s",
                flush=True,
            )
            pd.DataFrame(rows).to_csv(output, index=False)


def measure(setting: Setting, studies: int, resamples: int) -> dict[str, float]:
    """Percentages over simulated studies."""
    generator = np.random.default_rng(7)
    spread = find_spread(setting.seed_points)
    shifts = spread * generator.standard_normal(_SEEDS_DRAWN if spread else 1)
    truth = {"f1_macro": float(macro_f1(shifts, spread).mean())}
    hits: dict[str, list[float]] = {}
    for number, (gold, predicted) in enumerate(simulate(setting, spread, studies, generator)):
        # Runs are ordered by strategy, then seed.
        found = resample_scores(gold, predicted, len(SHARES), resamples, seed=number)
        first, second = np.split(np.eye(2 * setting.seeds), 2)
        wins = count_wins((predicted != gold).sum(axis=2))
        one, other = np.arange(setting.seeds), np.arange(setting.seeds) + setting.seeds
        discordant = float((wins[one, other] + wins[other, one]).mean())
        p_sign = combine_dependent(exact_mcnemar(wins[one, other], wins[other, one]))
        hits.setdefault("disagree", []).append(discordant / setting.texts)
        for name in ("f1_macro", "f1_micro", "subset_accuracy"):
            scores, covariance = found.scores[name], found.covariance[name]
            if name in truth:
                interval = estimate(scores, covariance, [first]).interval()
                hits.setdefault(f"{name}_coverage", []).append(interval.low <= truth[name] <= interval.high)
            p_value = estimate(scores, covariance, [first - second]).p_value()
            hits.setdefault(f"{name}_false_positive", []).append(p_value < 0.05)
            if name == "f1_macro":
                decided = max(p_value, p_sign) if discordant < _FEWEST_DISCORDANT else p_value
                hits.setdefault("decided_false_positive", []).append(decided < 0.05)
        hits.setdefault("sign_test_false_positive", []).append(p_sign < 0.05)
    percentages = {name: round(100 * float(np.mean(values)), 1) for name, values in hits.items()}
    return {**vars(setting), "studies": studies, **percentages}


def macro_f1(shifts: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """What seeds with these shifts reach on endless texts; shape [seeds]."""
    found, left_out = (norm.cdf(threshold(share, spread) + shifts)[:, None] for share in (FOUND, LEFT_OUT))
    true = SHARES * found
    scores: NDArray[np.float64] = (2 * true / (true + (1 - SHARES) * (1 - left_out) + SHARES)).mean(axis=1)
    return scores


def threshold(share: float, spread: float) -> float:
    """The difficulty up to which a seed without shift is right, so that over seeds the share is kept."""
    return float(norm.ppf(share) * np.sqrt(1 + spread**2))


def find_spread(points: float) -> float:
    """The standard deviation of seeds' shifts at which macro F1 varies by so many points."""
    rise = macro_f1(np.array([-0.01, 0.01]), 0.0)
    return points / 100 / float((rise[1] - rise[0]) / 0.02)


def simulate(
    setting: Setting, spread: float, studies: int, generator: np.random.Generator
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """True labels, shape [texts, labels], and those that two strategies' seeds predict, shape [2 * seeds, texts, labels]."""
    size, seeds, labels = setting.texts, setting.seeds, len(SHARES)
    strategy = WITHIN * (1 - setting.shared)
    rest = 1 - setting.shared - strategy
    there, absent = threshold(FOUND, spread), threshold(LEFT_OUT, spread)
    for _ in range(studies):
        gold = generator.random((size, labels)) < SHARES
        shared = np.sqrt(OF_TEXT) * generator.standard_normal((size, 1))
        shared = shared + np.sqrt(1 - OF_TEXT) * generator.standard_normal((size, labels))
        difficulty = np.sqrt(setting.shared) * shared + np.sqrt(strategy) * generator.standard_normal((2, 1, size, labels))
        difficulty = difficulty + np.sqrt(rest) * generator.standard_normal((2, seeds, size, labels))
        right = difficulty < np.where(gold, there, absent) + spread * generator.standard_normal((2, seeds, 1, 1))
        yield gold, (right == gold).reshape(2 * seeds, size, labels)


if __name__ == "__main__":
    main()
