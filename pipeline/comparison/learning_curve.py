"""Learning curves: the scores of every strategy at several numbers of labelled texts, and what twice as many would bring.

Rows are compared within a size only; each size has its own table, tests, letters and verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.ranking import choose_ranking
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import RowStatistics, Statistics, compute_statistics, without_groups
from pipeline.comparison.table import add_statistics, build_table
from pipeline.config.train_sizes import ALL
from pipeline.evaluation.metric import Metric
from pipeline.evaluation.statistics import power_law
from pipeline.evaluation.statistics.bootstrap import resample_scores
from pipeline.evaluation.statistics.intervals import Interval, estimate
from pipeline.tracking.run_kinds import label_type_of
from pipeline.tracking.runs import Run

_SIZE = "train_size"
_RESAMPLES = 2_000  # of the texts, for a covariance


@dataclass(frozen=True)
class SizeResults:
    """The comparison of the rows that were trained on one number of texts."""

    label: str
    """The number, or `all`."""
    texts: int
    """How many that are."""
    selection: Selection
    table: pd.DataFrame
    statistics: Statistics

    def number(self, name: str) -> int | None:
        """Of a row in this table."""
        return next((number for number, row in enumerate(self.statistics.rows) if row.name == name), None)


@dataclass(frozen=True)
class Forecast:
    """What the power law through a row's scores says of a size that was not measured."""

    name: str
    size: int
    score: Interval | None
    """None where there is no forecast."""
    gain: Interval | None = None
    """By how much that is more than at the largest measured size."""
    checked_to: int = 0
    """The law through the sizes up to this one ..."""
    checked: Interval | None = None
    """... says this of the largest size that was measured."""
    measured: Interval | None = None
    """The score there."""
    why_not: str = ""
    """Why there is no forecast."""

    @property
    def error(self) -> float | None:
        """Forecast less measured score, of the check."""
        return None if self.checked is None or self.measured is None else self.checked.value - self.measured.value


@dataclass(frozen=True)
class LearningCurve:
    """The results at every size, from the fewest texts to the most."""

    sizes: tuple[SizeResults, ...]
    forecasts: tuple[Forecast, ...] = ()
    metric: Metric = field(kw_only=True)

    @cached_property
    def names(self) -> list[str]:
        """The rows: those of the largest size in its order, then those that are not there."""
        return list(dict.fromkeys(row.name for size in reversed(self.sizes) for row in size.statistics.rows))

    def points(self, name: str) -> Iterator[tuple[SizeResults, RowStatistics, Mapping[str, Any]]]:
        """Of a row its statistics and its line of the table, at each size that has it."""
        for size in self.sizes:
            if (number := size.number(name)) is not None:
                line: dict[Any, Any] = size.table.iloc[number].to_dict()
                yield size, size.statistics.rows[number], line

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each two rows."""
        yield from ((first, second) for place, first in enumerate(self.names) for second in self.names[place + 1 :])


def size_of(run: Run) -> str:
    """The number of texts that a run was asked to be trained on, or `all`."""
    return run.params.get(_SIZE) or ALL


def group_by_size(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """`size_of` -> runs, from the fewest texts to the most."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(size_of(run), []).append(run)
    return dict(sorted(groups.items(), key=lambda item: math.inf if item[0] == ALL else int(item[0])))


def compare_at_sizes(
    selection: Selection, recorded: RecordedPredictions, ranking_metric: str | None
) -> tuple[SizeResults, ...]:
    """A table with tests for the runs of each size, from the fewest texts to the most."""
    return tuple(
        _compare(label, runs, selection, recorded, ranking_metric) for label, runs in group_by_size(selection.kept).items()
    )


def _compare(
    label: str, runs: Sequence[Run], selection: Selection, recorded: RecordedPredictions, ranking_metric: str | None
) -> SizeResults:
    mine = {run.run_id for run in runs}
    failed = tuple(run for run in selection.failed if size_of(run) == label)
    part = replace(selection, kept=tuple(runs), failed=failed, reused=selection.reused & mine)
    metric = choose_ranking(label_type_of(runs), ranking_metric)
    table = build_table(runs, failed, selection.ranked, metric.name)
    statistics = compute_statistics(table, runs, recorded.of_runs(mine))
    if not selection.ranked:
        statistics = without_groups(statistics)
    # A model from elsewhere was trained on other data; it stands beside rows of all texts.
    texts = max(run.metrics.get("data/train_examples", 0) for run in runs)
    texts = int(texts or max(run.metrics.get("data/rows_train", 0) for run in selection.kept))
    return SizeResults(label, texts, part, add_statistics(table, statistics), statistics)


def read_learning_curve(
    sizes: Sequence[SizeResults], runs: Sequence[Run], recorded: RecordedPredictions
) -> LearningCurve | None:
    """The curve with its forecasts; None where all rows are of one size."""
    if len(sizes) < 2:
        return None
    curve = LearningCurve(tuple(sizes), metric=sizes[-1].statistics.metric)
    forecasts = tuple(_forecast(curve, name, runs, recorded) for name in curve.names)
    return replace(curve, forecasts=tuple(forecast for forecast in forecasts if forecast))


def _forecast(curve: LearningCurve, name: str, runs: Sequence[Run], recorded: RecordedPredictions) -> Forecast | None:
    """What twice the labels would bring; None of a row that reads no texts."""
    points = [(size, row) for size, row, _ in curve.points(name)]
    if any(row.is_guess for _, row in points):
        return None
    largest, twice = curve.sizes[-1], 2 * curve.sizes[-1].texts
    usable = [(size, row) for size, row in points if row.score and not row.unlearned]
    if len(usable) < power_law.FEWEST_SIZES:
        where = f"it was trained at {len(points)} sizes"
        if len(points) >= power_law.FEWEST_SIZES:
            where = f"of {len(points)} sizes, all its seeds learned, and have predictions, at {len(usable)}"
        why = f"{where}; a law of three numbers needs {power_law.FEWEST_SIZES}"
        return Forecast(name, twice, None, why_not=why)
    if usable[-1][0] is not largest:
        return Forecast(name, twice, None, why_not=f"it has no score at {largest.texts:,} texts with which all seeds learned")
    of_row = _curve_of([(size, _members(size, name, runs)) for size, _ in usable], recorded, curve.metric)
    score, gain = power_law.forecast(of_row, twice)
    up_to = _hold_out(of_row.sizes.tolist())
    if not up_to:
        return Forecast(name, twice, score, gain)
    checked, _ = power_law.forecast(of_row.first(up_to), float(of_row.sizes[-1]))
    return Forecast(name, twice, score, gain, int(of_row.sizes[up_to - 1]), checked, usable[-1][1].score)


def _hold_out(sizes: Sequence[float]) -> int:
    """How many sizes a forecast of the largest is made from to be held against it: those up to a quarter of it, if they do."""
    fewest = power_law.FEWEST_SIZES - 1
    quarter = sum(4 * size <= sizes[-1] for size in sizes)
    return quarter if quarter >= fewest else len(sizes) - 1 if len(sizes) > fewest else 0


def _members(size: SizeResults, name: str, runs: Sequence[Run]) -> list[Run]:
    number = size.number(name)
    assert number is not None
    ids = str(size.table["run_ids"].iloc[number]).split()
    return [run for run in runs if run.run_id in ids]


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


def _seed(run: Run) -> str:
    return run.params.get("seed", "")


def tabulate_curve(curve: LearningCurve, runs: Sequence[Run]) -> pd.DataFrame:
    """`learning_curve.csv`: a row per row of the tables and size; docs/reference/runs.md explains the columns."""
    metric, rows = curve.metric, []
    for name in curve.names:
        for size, row, line in curve.points(name):
            members = _members(size, name, runs)
            validation, score = _validation_score(members, metric), row.score
            rows.append(
                {
                    "row": name,
                    "strategy": line["strategy"],
                    "entry": line["entry"],
                    "model": line.get("model", members[0].params.get("model", "")),
                    "arguments": line["arguments"],
                    "learning_rate": line["learning_rate"],
                    "train_size": size.label,
                    "train_texts": size.texts,
                    "validation_texts": _validation_texts(members[0]) or "",
                    "metric": metric.name,
                    "validation_score": validation.value,
                    "validation_low": validation.low,
                    "validation_high": validation.high,
                    "test_score": float(line[metric.name]),
                    "test_low": score.low if score else math.nan,
                    "test_high": score.high if score else math.nan,
                    "test_std": line.get(f"{metric.name}_std", math.nan),
                    "seeds": line["seeds"],
                    "learned": row.learned,
                    "group": row.group + row.group_mark,
                    "train_seconds": line.get("train_seconds", math.nan),
                    "cache_seconds": line.get("cache_seconds", math.nan),
                    "epochs": members[0].params.get("epochs", ""),
                    "steps": _steps(members),
                    "tuned": line["tuned"],
                    "run_ids": line["run_ids"],
                }
            )
    return pd.DataFrame(rows)


def _steps(runs: Sequence[Run]) -> float | str:
    """Optimizer steps, a mean over the seeds; of a baseline there are none."""
    taken = [
        run.metrics["train/steps_per_epoch"] * int(run.params["epochs"])
        for run in runs
        if "train/steps_per_epoch" in run.metrics and "epochs" in run.params
    ]
    return sum(taken) / len(taken) if taken else ""


def _validation_texts(run: Run) -> int:
    return int(run.metrics.get("data/validation_examples", 0))


def _validation_score(runs: Sequence[Run], metric: Metric) -> Interval:
    """The mean over seeds of the kept checkpoints' validation scores, with an interval over seeds, subsets and texts.

    Validation predictions are not kept. So the variance that the texts give is that of a share of so many texts, the same
    ones for all seeds; of what is no share the interval is over seeds alone. A checkpoint was chosen by these texts.
    """
    scores = np.array([run.metrics.get(f"val/{metric.name}", math.nan) for run in runs])
    texts = min(map(_validation_texts, runs))
    if np.isnan(scores).any():
        return Interval(math.nan, math.nan, math.nan)
    mean, is_share = float(scores.mean()), (metric.lowest, metric.highest) == (0.0, 1.0)
    if (not is_share and len(scores) < 2) or (is_share and not texts):
        return Interval(mean, math.nan, math.nan)
    of_texts = mean * (1 - mean) / texts if is_share else 0.0
    found = estimate(scores, np.full((len(scores), len(scores)), of_texts), [np.eye(len(scores))])
    return found.interval(metric.lowest, metric.highest)


def tabulate_forecasts(curve: LearningCurve) -> pd.DataFrame:
    """`learning_curve_forecast.csv`: a row per strategy, with the check of its forecast."""

    def bounds(name: str, interval: Interval | None) -> dict[str, float]:
        values = (interval.value, interval.low, interval.high) if interval else (math.nan,) * 3
        return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))

    return pd.DataFrame(
        [
            {
                "row": found.name,
                "metric": curve.metric.name,
                "texts": found.size,
                **bounds("forecast", found.score),
                **bounds("gain", found.gain),
                "checked_from_sizes_up_to": found.checked_to or "",
                "checked_at": curve.sizes[-1].texts if found.checked else "",
                **bounds("checked_forecast", found.checked),
                **bounds("measured", found.measured),
                "error": math.nan if found.error is None else found.error,
                "no_forecast": found.why_not,
            }
            for found in curve.forecasts
        ]
    )
