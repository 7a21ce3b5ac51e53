"""Tests of every pair of rows, held against each other text by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.conclusions.wording import wording
from pipeline.evaluation.metric import Metric, list_metrics
from pipeline.evaluation.statistics.bootstrap import ResampledScores
from pipeline.evaluation.statistics.intervals import LEVEL, Estimate, Interval
from pipeline.evaluation.statistics.significance import combine_dependent, count_wins, exact_mcnemar, holm

_ALPHA = 1 - LEVEL
_FEWEST_DISCORDANT = 25
"""With fewer texts on which just one model is right, the normal approximation of the difference is not trusted alone."""

BOOTSTRAP, HOLM = "paired bootstrap", "Holm"

_SPANS = {metric.name: metric.span for metric in list_metrics()}
Floats = NDArray[np.float64]
Seeds = tuple[object, ...]
"""A run's seeds, and how many runs of its row with the same ones stand before it."""


@dataclass(frozen=True)
class PairTest:
    """Two rows of the results table, held against each other text by text."""

    first: int
    """Number of the row."""
    second: int
    differences: Mapping[str, Interval]
    """Name of each metric that has intervals -> the difference, first less second."""
    p_value: float
    """That the true values of the metric by which rows are ranked are equal."""
    p_holm: float
    """The same, corrected for the number of pairs."""
    p_mcnemar: float
    """That both are right, or of label sets the less wrong, equally often, exact; over the paired seeds combined."""
    p_mcnemar_holm: float
    discordance: float
    """Mean share of the texts on which just one of two models is right, or one is less wrong than the other."""
    smallest_gap: float
    """The difference in that metric that the test of this pair would show with 80 % power; 0 where nothing varies."""
    paired_seeds: int
    """Seeds that both have; 0 where they have none in common, and the means are compared."""
    decided_by: str = BOOTSTRAP
    """Whose p-value `p_value` is."""
    metric: Metric = field(kw_only=True)
    """By which rows are ranked."""

    @property
    def lead(self) -> Interval:
        """By how much the first row is the better by that metric, whichever way it runs; below 0 if it is the worse."""
        gap = self.differences[self.metric.name]
        return gap if self.metric.greater_is_better else Interval(-gap.value, -gap.high, -gap.low)

    @property
    def different(self) -> bool:
        """Whether the two can be told apart by that metric."""
        return self.p_holm < _ALPHA

    @property
    def better(self) -> int | None:
        """The row that is better; None where that cannot be told."""
        if not self.different:
            return None
        return self.first if self.lead.value > 0 else self.second

    @property
    def overruled_by(self) -> str:
        """What decided against the interval of that difference; empty where both say the same."""
        if self.different == (self.lead.low > 0 or self.lead.high < 0):
            return ""
        # By itself the bootstrap agrees with its interval; only the correction for many pairs or the other test does not.
        return self.decided_by if self.different or self.p_value >= _ALPHA else HOLM


@dataclass(frozen=True)
class JudgedRuns:
    """What every run got right; runs are counted as they were recorded."""

    scores: ResampledScores
    texts: int
    only: NDArray[np.int64]
    """On how many texts only the first of two runs is right, or is the less wrong; shape [runs, runs]."""
    p_mcnemar: Floats
    """That both are so equally often; shape [runs, runs]."""
    metric: Metric
    """By which rows are ranked."""

    @staticmethod
    def of(scores: ResampledScores, wrong: NDArray[np.integer], metric: Metric) -> JudgedRuns:
        """From how wrong each run is on each text, 0 or 1 or its number of wrong labels; shape [runs, texts]."""
        only = count_wins(wrong)
        return JudgedRuns(scores, wrong.shape[1], only, exact_mcnemar(only, only.T), metric)


def compare_pairs(members: Sequence[Mapping[Seeds, int]], judged: JudgedRuns) -> tuple[PairTest, ...]:
    """The test of each two rows that have predictions, corrected for the number of pairs.

    Args:
        members: Of each row its runs by seed, as numbers among those of `judged`.
    """
    known = [number for number, mine in enumerate(members) if mine]
    tests = [_test_pair(first, second, members[first], members[second], judged) for first, second in combinations(known, 2)]
    corrected = holm([test.p_value for test in tests])
    corrected_mcnemar = holm([test.p_mcnemar for test in tests])
    return tuple(
        replace(test, p_holm=float(p_holm), p_mcnemar_holm=float(p_mcnemar_holm))
        for test, p_holm, p_mcnemar_holm in zip(tests, corrected, corrected_mcnemar, strict=True)
    )


def _test_pair(first: int, second: int, runs: Mapping[Seeds, int], others: Mapping[Seeds, int], judged: JudgedRuns) -> PairTest:
    """The test of two rows, given the runs of both by seed; its p-values are not corrected yet."""
    each = judged.scores.each
    shared = [seeds for seeds in runs if seeds in others]
    if shared:
        mine, theirs = [runs[seeds] for seeds in shared], [others[seeds] for seeds in shared]
        parts = [each(mine) - each(theirs)]
    else:  # every run with every other
        mine, theirs = np.repeat(list(runs.values()), len(others)).tolist(), [*others.values()] * len(runs)
        parts = [each(list(runs.values())), -each(list(others.values()))]
    discordant = float((judged.only[mine, theirs] + judged.only[theirs, mine]).mean())
    estimates = judged.scores.estimate(parts)
    metric, p_mcnemar = judged.metric, combine_dependent(judged.p_mcnemar[mine, theirs])
    p_bootstrap = estimates[metric.name].p_value()
    # Which texts are right says nothing of probabilities, which differ on all of them.
    few = discordant < _FEWEST_DISCORDANT and not metric.uses_probabilities
    decided_by = wording(metric.of).pair_test if few and p_mcnemar > p_bootstrap else BOOTSTRAP
    p_value = p_bootstrap if decided_by == BOOTSTRAP else p_mcnemar
    return PairTest(
        first=first,
        second=second,
        differences=_differences(estimates),
        p_value=p_value,
        p_holm=p_value,
        p_mcnemar=p_mcnemar,
        p_mcnemar_holm=p_mcnemar,
        discordance=discordant / judged.texts,
        smallest_gap=estimates[metric.name].smallest_gap(),
        paired_seeds=len(shared),
        decided_by=decided_by,
        metric=metric,
    )


def _differences(estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
    return {name: difference.interval(-_SPANS[name], _SPANS[name]) for name, difference in estimates.items()}
