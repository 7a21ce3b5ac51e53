"""What twice the labels would bring each row, by the power law through its scores, and how far off that law was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.comparison.learning_curve.curve import Forecast, LearningCurve, SizeResults, members_of
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.evaluation.metric import Metric
from pipeline.evaluation.statistics import power_law
from pipeline.evaluation.statistics.bootstrap import resample_scores
from pipeline.tracking.run_options import logged_option
from pipeline.tracking.runs import Run

_RESAMPLES = 2_000  # of the texts, for a covariance


def forecast_all(curve: LearningCurve, runs: Sequence[Run], recorded: RecordedPredictions) -> tuple[Forecast, ...]:
    """A forecast, or why there is none, of every row that reads texts."""
    forecasts = (_forecast(curve, name, runs, recorded) for name in curve.names)
    return tuple(forecast for forecast in forecasts if forecast)


def _forecast(curve: LearningCurve, name: str, runs: Sequence[Run], recorded: RecordedPredictions) -> Forecast | None:
    """What twice the labels would bring; None of a row that reads no texts."""
    points = [(size, row) for size, row, _ in curve.points(name)]
    if any(row.is_guess for _, row in points):
        return None
    largest, twice = curve.sizes[-1], 2 * curve.sizes[-1].texts
    if curve.metric.of == "score":
        return Forecast(name, twice, None, why_not="scores have no intervals, so no law is drawn")
    usable = [(size, row) for size, row in points if row.score and not row.unlearned]
    if len(usable) < power_law.FEWEST_SIZES:
        where = f"it was trained at {len(points)} sizes"
        if len(points) >= power_law.FEWEST_SIZES:
            where = f"of {len(points)} sizes, all its seeds learned, and have predictions, at {len(usable)}"
        why = f"{where}; a law of three numbers needs {power_law.FEWEST_SIZES}"
        return Forecast(name, twice, None, why_not=why)
    if usable[-1][0] is not largest:
        return Forecast(name, twice, None, why_not=f"it has no score at {largest.texts:,} texts with which all seeds learned")
    of_row = _curve_of([(size, members_of(size, name, runs)) for size, _ in usable], recorded, curve.metric)
    score, gain = power_law.forecast(of_row, twice)
    up_to = _hold_out(of_row.sizes.tolist())
    if not up_to:
        return Forecast(name, twice, score, gain)
    checked, _ = power_law.forecast(of_row.first(up_to), float(of_row.sizes[-1]))
    return Forecast(name, twice, score, gain, int(of_row.sizes[up_to - 1]), checked, usable[-1][1].score)


def _hold_out(sizes: Sequence[float]) -> int:
    """How many sizes a forecast of the largest is made from to be held against it: those up to a half of it, if they do."""
    fewest = power_law.FEWEST_SIZES - 1
    half = sum(2 * size <= sizes[-1] for size in sizes)
    return half if half >= fewest else len(sizes) - 1 if len(sizes) > fewest else 0


def _curve_of(
    members: Sequence[tuple[SizeResults, list[Run]]], recorded: RecordedPredictions, metric: Metric
) -> power_law.Curve:
    """A row's scores by size and seed, with the covariance that the test texts, the same for all, give to their means."""
    mine = recorded.of_runs({run.run_id for _, runs in members for run in runs})
    place = {run_id: number for number, run_id in enumerate(mine.run_ids)}
    predicted = np.stack([mine.predicted[run_id] for run_id in mine.run_ids])
    probabilities = [mine.probabilities[run_id] for run_id in mine.run_ids] if len(mine.probabilities) == len(place) else []
    drawn = resample_scores(mine.gold, predicted, len(mine.classes), _RESAMPLES, probabilities=probabilities)
    seeds = {seed: column for column, seed in enumerate(dict.fromkeys(_seed(run) for _, runs in members for run in runs))}
    scores, contrasts = np.full((len(members), len(seeds)), np.nan), np.zeros((len(members), len(place)))
    for row, (_, runs) in enumerate(members):
        there = [run for run in runs if run.run_id in place]
        for run in there:
            scores[row, seeds[_seed(run)]] = drawn.scores[metric.name][place[run.run_id]]
            contrasts[row, place[run.run_id]] = 1 / len(there)
    covariance = contrasts @ drawn.covariance[metric.name] @ contrasts.T
    sizes = np.array([size.texts for size, _ in members], float)
    return power_law.Curve(sizes, scores, covariance, metric.highest if metric.greater_is_better else metric.lowest)


def _seed(run: Run) -> object:
    return logged_option(run, "seed")
