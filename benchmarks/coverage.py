"""How often the intervals hold the truth, and how often the tests find a difference where there is none.

python -m benchmarks.coverage --output docs/explanation/coverage.csv
python -m benchmarks.coverage --power --texts 853 --seeds 2,3,5 --discordances 0.1 --seed-points 1,2

Simulated studies of two strategies that are equally good: a text's difficulty is shared by all models, in part by the models
of one strategy, and the rest is chance; each seed shifts its model's accuracy a little. The shares are chosen so that two
models of different strategies, or of different seeds, disagree in whether they are right as often as asked for.
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
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from pipeline.evaluation.statistics.bootstrap import resample_scores
from pipeline.evaluation.statistics.intervals import Estimate, estimate, needed_errors
from pipeline.evaluation.statistics.significance import combine_dependent, exact_mcnemar

ACCURACY = 0.8
WITHIN = 0.7  # two seeds of a strategy disagree this much as often as two strategies do


@dataclass(frozen=True)
class Setting:
    """One kind of study."""

    texts: int
    seeds: int
    discordance: float
    """Share of the texts on which just one of two strategies is right."""
    seed_points: float
    """Standard deviation over seeds of a strategy's accuracy, in points."""


@click.command()
@click.option("--texts", default="853,872", show_default=True, help="Test texts, separated by commas.")
@click.option("--seeds", default="1,2,3,5", show_default=True)
@click.option("--discordances", default="0.05,0.1,0.2", show_default=True)
@click.option("--seed-points", default="0,0.5,1", show_default=True, help="Spread over seeds, in points.")
@click.option("--studies", default=1000, show_default=True, help="Simulated studies per line.")
@click.option("--resamples", default=400, show_default=True)
@click.option("--power", is_flag=True, help="Instead: how often the gap that is announced is found.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("coverage.csv"), show_default=True)
def main(
    texts: str, seeds: str, discordances: str, seed_points: str, studies: int, resamples: int, power: bool, output: Path
) -> None:
    """Print a line per kind of study, and write them into --output."""
    rows = []
    spreads = [float(value) for value in seed_points.split(",")]
    for size, count, discordance in product(_whole(texts), _whole(seeds), map(float, discordances.split(","))):
        for spread in spreads if count > 1 else [0.0]:
            began = time.perf_counter()
            setting = Setting(size, count, discordance, spread)
            rows.append((measure_power if power else measure)(setting, studies, resamples))
            print(" ".join(f"{name}={value:g}" for name, value in rows[-1].items()), f"{time.perf_counter() - began:.0f}s")
            pd.DataFrame(rows).to_csv(output, index=False)


def _whole(numbers: str) -> list[int]:
    return [int(number) for number in numbers.split(",")]


def measure(setting: Setting, studies: int, resamples: int) -> dict[str, float]:
    """Percentages over simulated studies.

    The truth of one seed is the trained model's own accuracy, of several seeds that of the strategy over all seeds: with
    `seed_points` of 0 the two are the same.
    """
    generator = np.random.default_rng(7)
    hits: dict[str, list[bool]] = {}
    for number, (gold, predicted) in enumerate(simulate(setting, studies, generator)):
        # Runs are ordered by strategy, then seed.
        found = resample_scores(gold, predicted, 2, resamples, seed=number)
        first, second = np.split(np.eye(2 * setting.seeds), 2)
        for name in ("f1_macro", "accuracy"):
            scores, covariance = found.scores[name], found.covariance[name]
            interval = estimate(scores, covariance, [first]).interval()
            hits.setdefault(f"{name}_coverage", []).append(interval.low <= ACCURACY <= interval.high)
            p_value = estimate(scores, covariance, [first - second]).p_value()
            hits.setdefault(f"{name}_false_positive", []).append(p_value < 0.05)
        texts_only = estimate(scores, covariance, [(first - second).mean(axis=0, keepdims=True)]).p_value()
        hits.setdefault("texts_only_false_positive", []).append(texts_only < 0.05)
        one, other = np.split(predicted == gold, 2)
        low, high = percentile_interval(one.astype(np.float32) - other, resamples, generator)
        hits.setdefault("percentile_false_positive", []).append(not low <= 0 <= high)
        p_values = exact_mcnemar((one & ~other).sum(axis=1), (other & ~one).sum(axis=1))
        hits.setdefault("mcnemar_false_positive", []).append(combine_dependent(p_values) < 0.05)
    percentages = {name: round(100 * float(np.mean(values)), 1) for name, values in hits.items()}
    return {**vars(setting), "studies": studies, **percentages}


def measure_power(setting: Setting, studies: int, resamples: int) -> dict[str, float]:
    """The median gap in macro F1 that studies announce, in points, and how often strategies so far apart are told apart.

    Beside it the same of the normal quantiles, 2.8 standard errors.
    """
    generator = np.random.default_rng(7)
    equal = [_compare(study, setting, resamples) for study in simulate(setting, studies, generator)]
    found: dict[str, float] = {}
    announced = {"": [one.smallest_gap() for one in equal], "normal_": [needed_errors() * one.standard_error for one in equal]}
    for name, gaps in announced.items():
        gap = float(np.median(gaps))
        apart = [_compare(study, setting, resamples) for study in simulate(setting, studies, generator, gap)]
        found[f"{name}gap"] = round(100 * gap, 1)
        found[f"{name}found"] = round(100 * float(np.mean([one.p_value() < 0.05 for one in apart])), 1)
    return {**vars(setting), "studies": studies, **found}


def _compare(study: tuple[NDArray[np.int64], NDArray[np.int64]], setting: Setting, resamples: int) -> Estimate:
    found = resample_scores(*study, 2, resamples)
    first, second = np.split(np.eye(2 * setting.seeds), 2)
    return estimate(found.scores["f1_macro"], found.covariance["f1_macro"], [first - second])


def percentile_interval(
    differences: NDArray[np.float32], resamples: int, generator: np.random.Generator
) -> tuple[float, float]:
    """The usual bootstrap, for comparison: percentiles of the mean where both seeds and texts are drawn.

    Args:
        differences: Of two models being right; shape [seeds, texts].
    """
    seeds, texts = differences.shape
    drawn = generator.integers(0, texts, (resamples, texts)) + texts * np.arange(resamples)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=resamples * texts).reshape(resamples, texts)
    means = weights.astype(np.float32) @ differences.T / texts
    chosen = generator.integers(0, seeds, (resamples, seeds))
    low, high = np.percentile(np.take_along_axis(means, chosen, axis=1).mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def simulate(
    setting: Setting, studies: int, generator: np.random.Generator, gap: float = 0.0
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """True classes, shape [texts], and those that two strategies' seeds predict, shape [2 * seeds, texts].

    Args:
        gap: By how much the second strategy's accuracy is below the first's.
    """
    spread = setting.seed_points / 100 / norm.pdf(norm.ppf(ACCURACY))  # on the scale of difficulty
    accuracies = np.array([ACCURACY, max(0.01, ACCURACY - gap)])
    threshold = norm.ppf(accuracies)[:, None, None] * np.sqrt(1 + spread**2)
    shared = correlation(setting.discordance)
    strategy = correlation(WITHIN * setting.discordance) - shared
    rest = 1 - shared - strategy
    size, seeds = setting.texts, setting.seeds
    for _ in range(studies):
        gold = generator.integers(0, 2, size)
        difficulty = np.sqrt(shared) * generator.standard_normal(size)
        difficulty = difficulty + np.sqrt(strategy) * generator.standard_normal((2, 1, size))
        difficulty = difficulty + np.sqrt(rest) * generator.standard_normal((2, seeds, size))
        right = difficulty < threshold + spread * generator.standard_normal((2, seeds, 1))
        yield gold, np.where(right, gold, 1 - gold).reshape(2 * seeds, size)


def correlation(discordance: float) -> float:
    """Of the difficulties of a text for two models that disagree in whether they are right this often."""
    threshold = norm.ppf(ACCURACY)

    def excess(value: float) -> float:
        both = multivariate_normal.cdf([threshold, threshold], cov=[[1, value], [value, 1]])
        return float(2 * (ACCURACY - both)) - discordance

    return float(brentq(excess, 0.0, 0.99999))


if __name__ == "__main__":
    main()
