"""Estimates over texts and seeds with intervals, and how small a difference can be shown.

Quantiles and tails of distributions are those of scipy.stats to the last bit, by scipy.special: the other takes a third of a
second and 20 MB to import, and every training needs an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
POWER = 0.8

_QUANTILES = 100


@dataclass(frozen=True)
class Interval:
    """A figure with what it may as well be."""

    value: float
    low: float
    high: float


def wilson_interval(correct: int, texts: int) -> Interval:
    """The share of texts that are right, with its 95 % interval (Wilson 1927), for few texts and high shares, too.

    Args:
        correct: How many are right, of
        texts: how many, at least one.
    """
    from scipy.special import ndtri

    share, width = correct / texts, float(ndtri(0.5 + LEVEL / 2))
    whole = 2 * (texts + width**2)
    middle = (2 * texts * share + width**2) / whole
    reach = width / whole * math.sqrt(4 * texts * share * (1 - share) + width**2)
    return Interval(share, 0.0 if correct == 0 else middle - reach, 1.0 if correct == texts else middle + reach)


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of scores, with its uncertainty."""

    value: float
    standard_error: float
    degrees_of_freedom: float
    """Of the t distribution by which it is judged; infinite where no seed varies."""
    seed_variance: float = 0.0
    """What of the squared standard error is from the variance between seeds."""

    def interval(self, lowest: float = -1.0, highest: float = 1.0) -> Interval:
        """The 95 % interval, cut to what is possible."""
        reach = _reach(self.degrees_of_freedom) * self.standard_error
        return Interval(self.value, max(lowest, self.value - reach), min(highest, self.value + reach))

    def p_value(self) -> float:
        """Of the two-sided test that the true value is 0. It is below 5 % just where the interval leaves 0 out."""
        from scipy.special import stdtr

        if self.standard_error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stdtr(self.degrees_of_freedom, -abs(self.value) / self.standard_error))

    def smallest_gap(self) -> float:
        """The true difference that the same test would show at the 5 % level with 80 % power.

        Another study finds another variance between its few seeds, and with it other degrees of freedom: its power is the mean
        over what it may find (quantiles of chi-squared). The variance measured here is taken for the median of these, as that
        of few seeds is more often too small than too large.
        """
        from scipy.optimize import brentq
        from scipy.special import gammaincinv, ndtr, stdtrit

        if self.standard_error == 0 or self.seed_variance == 0:
            return needed_errors() * self.standard_error
        freedom = self.degrees_of_freedom * (self.seed_variance / self.standard_error**2) ** 2  # of the variance between seeds
        texts = self.standard_error**2 - self.seed_variance
        seeds = self.seed_variance * freedom / (2 * gammaincinv(freedom / 2, 0.5))
        drawn = seeds * (2 * gammaincinv(freedom / 2, (np.arange(_QUANTILES) + 0.5) / _QUANTILES)) / freedom
        needed = stdtrit(freedom * (1 + texts / drawn) ** 2, (1 + LEVEL) / 2) * np.sqrt(texts + drawn)
        deviation = math.sqrt(texts + seeds)
        return float(brentq(lambda gap: ndtr((gap - needed) / deviation).mean() - POWER, 0.0, needed[-1] + 9 * deviation))


@cache  # of single runs it is always the same, and there may be thousands
def _reach(degrees_of_freedom: float) -> float:
    """Standard errors from the middle of a 95 % interval to its ends."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + LEVEL) / 2))


def needed_errors() -> float:
    """Standard errors, 2.8, that a difference must be worth for the two-sided 5 % test to show it with 80 % power."""
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2) + ndtri(POWER))


def smallest_accuracy_gap(texts: int, discordance: float = 0.05) -> float:
    """The smallest difference in accuracy that two models can show on so many texts, as a share.

    z·sqrt(d/n) with the z of `needed_errors`, for the paired comparison (McNemar 1947; Connor 1987).

    Args:
        discordance: Share d of the texts on which exactly one of the two models is right.
    """
    return needed_errors() * math.sqrt(discordance / texts)


def estimate(scores: NDArray[np.float64], covariance: NDArray[np.float64], parts: Sequence[NDArray[np.float64]]) -> Estimate:
    """A sum of means over seeds, with the variance that texts and seeds give it.

    Texts and seeds are crossed: every seed's model saw the same texts. The variance is that of the mean over resampled
    texts, the seeds as they are, plus that between the seeds' values on these texts. What is peculiar to one text and one
    seed is in both, so it counts twice: a little too wide rather than too narrow. The variance between a few seeds is itself
    uncertain: t with the degrees of freedom of Satterthwaite (1946), as in studies of many readers and many cases (Hillis
    2007), where a plain bootstrap of seeds comes out too narrow.

    Args:
        scores: Of each run; shape [runs].
        covariance: Of the runs' scores over resampled texts; shape [runs, runs].
        parts: Each a contrast per seed, shape [seeds, runs]; a part with one seed has no variance between seeds. Seeds of
            different parts are independent.
    """
    value, between, of_squares = 0.0, 0.0, 0.0
    contrast = np.zeros(len(scores))
    for part in parts:
        seeds = len(part)
        by_seed = part @ scores
        value += float(by_seed.mean())
        contrast += part.mean(axis=0)
        if seeds > 1:
            variance = float(by_seed.var(ddof=1)) / seeds
            between += variance
            of_squares += variance**2 / (seeds - 1)
    of_texts = contrast @ covariance @ contrast
    total = max(0.0, float(of_texts)) + between
    return Estimate(value, math.sqrt(total), total**2 / of_squares if of_squares else math.inf, between)
