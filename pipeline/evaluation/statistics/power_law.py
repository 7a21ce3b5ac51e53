"""What more labels would bring: a power law through the errors of a learning curve, for a forecast and nothing else.

error = a * n^-b + c with a, c >= 0 and 0 < b <= 2 (Hestness et al. 2017; Viering and Loog 2022 on where it holds). Given b the
law is linear in a and c, so a grid over b finds the least squares of many resampled curves at once, where an iteration from
one start may end in a local minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.statistics.intervals import LEVEL, Interval

Floats = NDArray[np.float64]

FEWEST_SIZES = 4
"""Of a law with three numbers, so that it is not drawn through every point."""
DRAWS = 2_000
_EXPONENTS = np.geomspace(0.01, 2.0, 160)


@dataclass(frozen=True)
class Curve:
    """Scores of one strategy at several numbers of labelled texts."""

    sizes: Floats
    """Labelled texts, ascending; shape [sizes]."""
    scores: Floats
    """Of each seed, NaN where it lacks; shape [sizes, seeds]."""
    covariance: Floats
    """Of the mean scores over resampled test texts; shape [sizes, sizes]."""
    best: float = 1.0
    """The score without any error, whichever way scores run."""

    @property
    def means(self) -> Floats:
        """Over the seeds; shape [sizes]."""
        means: Floats = np.nanmean(self.scores, axis=1)
        return means

    def first(self, count: int) -> Curve:
        """At the smallest sizes alone."""
        return Curve(self.sizes[:count], self.scores[:count], self.covariance[:count, :count], self.best)

    def draw(self, draws: int, seed: int) -> Floats:
        """Mean scores as other seeds and test texts might give them; shape [draws, sizes].

        A seed is drawn with all its sizes, as its texts at a small size are part of those at a large one. Deviations between
        few seeds are widened to what an unbiased variance has. Texts enter by the normal distribution of their covariance.
        """
        generator = np.random.default_rng(seed)
        values, vectors = np.linalg.eigh(self.covariance)
        roots = vectors * np.sqrt(np.maximum(values, 0.0))
        of_texts = generator.standard_normal((draws, len(self.sizes))) @ roots.T
        whole = self.scores[:, ~np.isnan(self.scores).any(axis=0)]
        seeds = whole.shape[1]
        drawn: Floats = self.means + of_texts
        if seeds < 2:
            return drawn
        chosen = generator.integers(0, seeds, (draws, seeds))
        deviations = (whole - whole.mean(axis=1, keepdims=True)) * np.sqrt(seeds / (seeds - 1))
        drawn += deviations[:, chosen].mean(axis=2).T
        return drawn


def forecast(curve: Curve, size: float, draws: int = DRAWS, seed: int = 0) -> tuple[Interval, Interval]:
    """The score at a size that was not measured, and how much more that is than at the largest one that was.

    Intervals are the middle 95 % of what resampled curves come to.

    Args:
        curve: At `FEWEST_SIZES` or more; with three the law passes through every point that it can.
    """
    spread = np.sqrt(np.maximum(np.diag(curve.covariance) + _variance_of_seeds(curve.scores), 1e-12))
    resampled = curve.draw(draws, seed)
    errors = np.abs(curve.best - np.concatenate([curve.means[None], resampled]))
    forecasts = fit_and_extend(curve.sizes, errors, spread, size)
    sign = -1.0 if curve.best >= curve.means.max() else 1.0
    scores = curve.best + sign * forecasts
    return _middle(scores[0], scores[1:]), _middle(scores[0] - curve.means[-1], scores[1:] - resampled[:, -1])


def _middle(value: float, drawn: Floats) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def fit_and_extend(sizes: Floats, errors: Floats, spread: Floats, size: float) -> Floats:
    """The law of weighted least squares through each curve, at another size; shape [curves].

    Args:
        sizes: Shape [sizes].
        errors: Shape [curves, sizes].
        spread: Standard error of each size; shape [sizes].
        size: Where the law is read.
    """
    weights = 1 / spread**2
    weights = weights / weights.sum()
    least, found = np.full(len(errors), np.inf), np.zeros(len(errors))
    for exponent in _EXPONENTS:
        x = (sizes / sizes[-1]) ** -exponent
        slope, floor = _line(x, errors, weights)
        squares = ((errors - slope[:, None] * x - floor[:, None]) ** 2) @ weights
        better = squares < least
        least[better] = squares[better]
        found[better] = (slope * (size / sizes[-1]) ** -exponent + floor)[better]
    return found


def _line(x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Slope and intercept, neither below 0, of the weighted least squares; shape [curves] each."""
    x_mean, y_mean = x @ weights, y @ weights
    slope = ((y - y_mean[:, None]) * (x - x_mean)) @ weights / (((x - x_mean) ** 2) @ weights)
    intercept = y_mean - slope * x_mean
    through_origin = np.maximum((y * x) @ weights / ((x**2) @ weights), 0.0)
    flat = slope < 0
    steep = (intercept < 0) & ~flat
    return np.where(flat, 0.0, np.where(steep, through_origin, slope)), np.where(flat, y_mean, np.where(steep, 0.0, intercept))


def _variance_of_seeds(scores: Floats) -> Floats:
    """Of the mean over seeds, shape [sizes]; 0 where there is one."""
    counts = (~np.isnan(scores)).sum(axis=1)
    if (counts < 2).all():
        return np.zeros(len(scores))
    between = np.nanvar(np.where((counts > 1)[:, None], scores, 0.0), axis=1) * counts / np.maximum(counts - 1, 1)
    return np.where(counts > 1, between / counts, 0.0)
