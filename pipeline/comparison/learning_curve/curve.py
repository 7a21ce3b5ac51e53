"""Learning curves: the scores of every strategy at several numbers of labelled texts, and what twice as many would bring.

Rows are compared within a size only; each size has its own table, tests, letters and verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.ranking import choose_ranking
from pipeline.comparison.selection import Selection, is_fair
from pipeline.comparison.statistics import RowStatistics, Statistics, compute_statistics, without_groups
from pipeline.comparison.table import add_statistics, build_table
from pipeline.config.train_sizes import ALL
from pipeline.evaluation.metric import Metric
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.tracking.run_kinds import EXTERNAL, label_type_of, was_trained_here
from pipeline.tracking.run_options import count_of
from pipeline.tracking.runs import Run


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
        """The rows: those of the largest size in its order, then those that are not there; no models from elsewhere.

        On how many texts those were trained nobody knows.
        """
        here = [
            row.name
            for size in reversed(self.sizes)
            for row, strategy in zip(size.statistics.rows, size.table["strategy"], strict=True)
            if strategy != EXTERNAL
        ]
        return list(dict.fromkeys(here))

    def points(self, name: str) -> Iterator[tuple[SizeResults, RowStatistics, Mapping[str, Any]]]:
        """Of a row its statistics and its line of the table, at each size that has it."""
        for size in self.sizes:
            if (number := size.number(name)) is not None:
                line: dict[Any, Any] = size.table.iloc[number].to_dict()
                yield size, size.statistics.rows[number], line


def size_of(run: Run) -> str:
    """The number of texts that a run was asked to be trained on, or `all`."""
    return str(count_of(run, "train_size") or ALL)


def group_by_size(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """`size_of` -> runs, from the fewest texts to the most. Models from elsewhere stand beside the runs on most texts."""
    groups: dict[str, list[Run]] = {}
    for run in filter(was_trained_here, runs):
        groups.setdefault(size_of(run), []).append(run)
    groups = dict(sorted(groups.items(), key=lambda item: math.inf if item[0] == ALL else int(item[0])))
    if elsewhere := [run for run in runs if not was_trained_here(run)]:
        groups.setdefault(next(reversed(groups), ALL), []).extend(elsewhere)
    return groups


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
    ranked = selection.ranked or is_fair(runs)  # where sizes were treated differently, each may be fair in itself
    part = replace(selection, kept=tuple(runs), failed=failed, reused=selection.reused & mine, ranked=ranked)
    metric = choose_ranking(label_type_of(runs), ranking_metric)
    table = build_table(runs, failed, ranked, metric.name)
    statistics = compute_statistics(table, runs, recorded.of_runs(mine))
    if not ranked:
        statistics = without_groups(statistics)
    texts = max(run.metrics.get("data/train_examples", 0) for run in runs)
    texts = int(texts or max(run.metrics.get("data/rows_train", 0) for run in selection.kept))
    return SizeResults(label, texts, part, add_statistics(table, statistics), statistics)


def members_of(size: SizeResults, name: str, runs: Sequence[Run]) -> list[Run]:
    """The runs of a row at one size."""
    number = size.number(name)
    assert number is not None
    ids = str(size.table["run_ids"].iloc[number]).split()
    return [run for run in runs if run.run_id in ids]
