"""Intervals of every row and tests of every pair of rows, from the predictions of compared runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.pair_tests import JudgedRuns, PairTest, Seeds, compare_pairs
from pipeline.comparison.predictions import RecordedPredictions, read_predictions
from pipeline.comparison.ranking import headline
from pipeline.comparison.row_names import label_rows
from pipeline.evaluation.metric import LabelType, Metric, list_metrics, ranking
from pipeline.evaluation.metrics.accuracy import ACCURACY
from pipeline.evaluation.metrics.label_sets import SUBSET_ACCURACY
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.statistics.bootstrap import ResampledScores, resample_scores
from pipeline.evaluation.statistics.chance import Guess, correlation_interval, guess_classes, guess_sets, is_far_below_chance
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.evaluation.statistics.significance import letter_groups
from pipeline.strategies.baseline import is_baseline, reads_texts
from pipeline.tracking.run_options import seeds_of
from pipeline.tracking.runs import Run, RunStore

AGAINST_INTERVAL = "*"
"""Stands behind the letters of rows of which a pair was not decided as the interval of its difference says."""

_NOTHING_VARIES = 1e-9  # a gap that is rounding alone, as between two models that predict the same

_BY_NAME = {metric.name: metric for metric in list_metrics()}


@dataclass(frozen=True)
class RowStatistics:
    """One row of the results table."""

    name: str
    """As `label_rows` names it."""
    seeds: int
    """Runs whose predictions were read."""
    missing: int
    """Runs whose predictions were not."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Name of each metric that has one -> its interval; empty where there are no predictions."""
    group: str = ""
    """Rows that share a letter cannot be told apart; empty where there are no predictions."""
    group_mark: str = ""
    """`AGAINST_INTERVAL`, or empty."""
    judged: int = 0
    """Runs of which can be said whether they learned."""
    unlearned: tuple[str, ...] = ()
    """Ids of those that did not: their score is not shown to be above what a guess reaches that does not read the text."""
    constant: int = 0
    """Runs that predict one class, or the same labels, for every text."""
    below_chance: int = 0
    """Runs that are so far below chance that their classes may be swapped."""
    set_apart: bool = False
    """Whether a run did not learn and the row as a whole is not shown to be better than a guess: its mean says little."""
    is_baseline: bool = False
    """Whether it trains no encoder."""
    is_guess: bool = False
    """Whether it answers without reading the text, so that nobody asks whether it has learned."""
    metric: Metric = field(kw_only=True)
    """By which rows are ranked."""

    @property
    def score(self) -> Interval | None:
        """Interval of that metric."""
        return self.intervals.get(self.metric.name)

    @property
    def learned_nothing(self) -> bool:
        """Whether none of its runs learned."""
        return 0 < self.judged == len(self.unlearned)

    @property
    def learned(self) -> str:
        """`yes`, `no`, or how many of its seeds did; empty where that cannot be told."""
        if not self.judged:
            return ""
        if not self.unlearned:
            return "yes"
        return "no" if self.learned_nothing else f"{self.judged - len(self.unlearned)} of {self.judged} seeds"


@dataclass(frozen=True)
class Statistics:
    """All rows and pairs of a results table."""

    rows: tuple[RowStatistics, ...]
    """In the order of the table."""
    pairs: tuple[PairTest, ...]
    texts: int
    """Test texts."""
    resamples: int
    missing: Mapping[str, str]
    """Run id -> why its predictions could not be used."""
    majority: float = 0.0
    """Share of the most frequent class, or set of labels, among the test texts; 0 where no predictions were read."""
    metric: Metric = field(kw_only=True)
    """By which rows are ranked, and tested for differences."""

    @property
    def label_type(self) -> LabelType:
        """What was predicted."""
        return self.metric.of

    @property
    def unlearned(self) -> frozenset[str]:
        """Ids of the runs that did not learn."""
        return frozenset(run_id for row in self.rows for run_id in row.unlearned)

    @property
    def apart(self) -> frozenset[int]:
        """Numbers of the rows of which no run learned: axes are those of the others."""
        return frozenset(number for number, row in enumerate(self.rows) if row.learned_nothing)

    def pair(self, row: int, other: int) -> PairTest | None:
        """The test of two rows, in whichever order; None where there is none."""
        return self._by_rows.get(frozenset((row, other)))

    @cached_property
    def _by_rows(self) -> Mapping[frozenset[int], PairTest]:
        return {frozenset((pair.first, pair.second)): pair for pair in self.pairs}

    @property
    def known(self) -> list[int]:
        """Numbers of the rows that have predictions, the best score first."""
        scored = [(-self.metric.goodness(row.score.value), number) for number, row in enumerate(self.rows) if row.score]
        return [number for _, number in sorted(scored)]

    @property
    def discordance(self) -> float | None:
        """Median over the pairs; None without a pair."""
        return float(np.median([pair.discordance for pair in self.pairs])) if self.pairs else None

    @property
    def smallest_gap(self) -> float | None:
        """The difference in the ranking metric that the median pair would show with 80 % power at the 5 % level.

        From the measured standard errors, so seeds and discordance are in it; without the correction for many pairs. Pairs
        between which nothing varies, and rows that did not learn, are left out; None where there are no others.
        """
        gaps = [
            pair.smallest_gap
            for pair in self.pairs
            if pair.smallest_gap > _NOTHING_VARIES and not any(self.rows[row].set_apart for row in (pair.first, pair.second))
        ]
        return float(np.median(gaps)) if gaps else None


def compute_statistics(table: pd.DataFrame, runs: Sequence[Run], recorded: RecordedPredictions) -> Statistics:
    """Intervals, tests of every pair, and tie groups.

    Args:
        table: The results table; its column `run_ids` says which runs make a row, and `headline` by what they are ranked.
        runs: All runs of the table.
        recorded: Their predictions.
    """
    metric, by_id = headline(table), {run.run_id: run for run in runs}
    number_of = {run_id: number for number, run_id in enumerate(recorded.run_ids)}
    names, guesses = label_rows(table), [not reads_texts(strategy) for strategy in table["strategy"]]
    baselines = list(map(is_baseline, table["strategy"]))
    ids = [text.split() for text in table["run_ids"]]
    members = [_by_seed([by_id[run_id] for run_id in row if run_id in number_of], number_of) for row in ids]
    rows = [
        RowStatistics(name, len(mine), len(row) - len(mine), is_baseline=baseline, is_guess=is_guess, metric=metric)
        for name, mine, row, baseline, is_guess in zip(names, members, ids, baselines, guesses, strict=True)
    ]
    texts = len(recorded.gold)
    if not texts:
        rows = [
            row if is_guess else _judge_correlations(row, [by_id[run_id] for run_id in mine])
            for row, mine, is_guess in zip(rows, ids, guesses, strict=True)
        ]
        return Statistics(tuple(rows), (), texts, 0, recorded.missing, metric=metric)
    predicted = np.stack([recorded.predicted[run_id] for run_id in recorded.run_ids])
    probabilities = [recorded.probabilities[run_id] for run_id in recorded.run_ids if run_id in recorded.probabilities]
    if len(probabilities) < len(predicted):  # pairs are of all runs
        probabilities = []
    scores = resample_scores(recorded.gold, predicted, len(recorded.classes), probabilities=probabilities)
    of_sets = recorded.of_sets
    guess = guess_sets(recorded.gold) if of_sets else guess_classes(recorded.gold, len(recorded.classes))
    for number, mine in enumerate(members):
        if mine:
            rows[number] = replace(rows[number], intervals=_intervals(scores, list(mine.values())))
            if guess.right < 1 and not guesses[number]:  # of a single class nothing can be learned
                constant = sum(bool((predicted[run] == predicted[run][0]).all()) for run in mine.values())
                by_id_of_run = {recorded.run_ids[run]: run for run in mine.values()}
                below = 0
                if not of_sets:
                    classes = len(recorded.classes)
                    below = sum(_is_below_chance(recorded.gold, predicted[run], classes) for run in mine.values())
                judged = _judge_classes(rows[number], by_id_of_run, scores, guess)
                rows[number] = replace(judged, constant=constant, below_chance=below)
    wrong = predicted != recorded.gold
    pairs = compare_pairs(members, JudgedRuns.of(scores, wrong.sum(axis=2) if of_sets else wrong.astype(np.int8), metric))
    statistics = Statistics(tuple(rows), pairs, texts, scores.resamples, recorded.missing, guess.right, metric=metric)
    return replace(statistics, rows=_with_groups(statistics))


def intervals_of(run: Run, store: RunStore) -> dict[str, Interval]:
    """The intervals of a single tested run, by metric; none of scores, or where its predictions cannot be read."""
    recorded = read_predictions([run], store)
    if run.run_id not in recorded.predicted:
        return {}
    probabilities = list(recorded.probabilities.values())
    predicted = recorded.predicted[run.run_id][None]
    return _intervals(resample_scores(recorded.gold, predicted, len(recorded.classes), probabilities=probabilities), [0])


def _is_below_chance(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> bool:
    counts = np.bincount(gold, minlength=classes)
    right = np.bincount(gold[gold == predicted], minlength=classes)
    return is_far_below_chance(float((right / np.maximum(counts, 1)).mean()), counts.tolist())


def _is_beaten(guess: Guess, intervals: Mapping[str, Interval]) -> bool:
    right = intervals.get(ACCURACY.name) or intervals[SUBSET_ACCURACY.name]
    return guess.is_beaten(right, intervals[F1.name])


def _judge_classes(row: RowStatistics, numbers: Mapping[str, int], scores: ResampledScores, guess: Guess) -> RowStatistics:
    """The row, with which of its runs learned.

    Args:
        numbers: Run id -> number among the recorded runs.
    """
    unlearned = [run_id for run_id, number in numbers.items() if not _is_beaten(guess, _intervals(scores, [number]))]
    as_a_whole = _is_beaten(guess, _intervals(scores, list(numbers.values())))
    if as_a_whole and len(unlearned) == len(numbers):  # what no seed shows by itself, all show together
        unlearned = []
    set_apart = bool(unlearned) and not as_a_whole
    return replace(row, judged=len(numbers), unlearned=tuple(unlearned), set_apart=set_apart)


def _judge_correlations(row: RowStatistics, runs: Sequence[Run]) -> RowStatistics:
    """The row of a table of scores, with which of its runs learned; those that do not say how many examples are not judged."""
    correlation = f"test/{ranking('score').name}"
    tested = [run for run in runs if {correlation, "test/examples"} <= set(run.metrics)]
    unlearned = [
        run.run_id
        for run in tested
        if correlation_interval(run.metrics[correlation], int(run.metrics["test/examples"])).low <= 0
    ]
    return replace(row, judged=len(tested), unlearned=tuple(unlearned), set_apart=0 < len(unlearned) == len(tested))


def _intervals(scores: ResampledScores, numbers: Sequence[int]) -> dict[str, Interval]:
    """Of some runs together, by metric."""
    estimates = scores.estimate([scores.each(numbers)])
    return {name: score.interval(_BY_NAME[name].lowest, _BY_NAME[name].highest) for name, score in estimates.items()}


def _by_seed(runs: Sequence[Run], number_of: Mapping[str, int]) -> dict[Seeds, int]:
    """Seeds -> number among the recorded runs; a seed that stands twice is counted on."""
    numbers: dict[Seeds, int] = {}
    for run in runs:
        seeds = seeds_of(run)
        repetition = sum(key[:-1] == seeds for key in numbers)
        numbers[(*seeds, repetition)] = number_of[run.run_id]
    return numbers


def _with_groups(statistics: Statistics) -> tuple[RowStatistics, ...]:
    ranked = statistics.known
    rank = {number: place for place, number in enumerate(ranked)}
    letters = letter_groups(len(ranked), [(rank[pair.first], rank[pair.second]) for pair in statistics.pairs if pair.different])
    overruled = {row for pair in statistics.pairs if pair.overruled_by for row in (pair.first, pair.second)}
    return tuple(
        replace(row, group=letters[rank[number]], group_mark=AGAINST_INTERVAL if number in overruled else "")
        if number in rank
        else row
        for number, row in enumerate(statistics.rows)
    )


def without_groups(statistics: Statistics) -> Statistics:
    """The same for rows that are not to be ranked: the first letter would name the best."""
    return replace(statistics, rows=tuple(replace(row, group="", group_mark="") for row in statistics.rows))
