"""Intervals of every row and tests of every pair of rows, from the predictions of compared runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.conclusions.wording import wording
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.row_names import label_rows
from pipeline.config.identity import SEEDS
from pipeline.evaluation.metric import LabelType, list_metrics, ranking
from pipeline.evaluation.metrics.accuracy import ACCURACY
from pipeline.evaluation.metrics.label_sets import SUBSET_ACCURACY
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.statistics.bootstrap import LEVEL, Estimate, Interval, ResampledScores, estimate, resample_scores
from pipeline.evaluation.statistics.chance import Guess, correlation_interval, guess_classes, guess_sets, is_far_below_chance
from pipeline.evaluation.statistics.significance import combine_dependent, count_wins, exact_mcnemar, holm, letter_groups
from pipeline.strategies.baseline import is_baseline, reads_texts
from pipeline.tracking.runs import Run

RANKING = ranking("class")
"""By which rows of classes are ranked, and tested for differences."""
_ALPHA = 1 - LEVEL
_FEWEST_DISCORDANT = 25
"""With fewer texts on which just one model is right, the normal approximation of the difference is not trusted alone."""

BOOTSTRAP, HOLM = "paired bootstrap", "Holm"
AGAINST_INTERVAL = "*"
"""Stands behind the letters of rows of which a pair was not decided as the interval of its difference says."""

_NOTHING_VARIES = 1e-9  # a gap that is rounding alone, as between two models that predict the same

_BY_NAME = {metric.name: metric for metric in list_metrics()}
Floats = NDArray[np.float64]
Seeds = tuple[object, ...]
"""A run's seeds, and how many runs of its row with the same ones stand before it."""


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

    @property
    def score(self) -> Interval | None:
        """Interval of the metric by which rows are ranked."""
        return self.intervals.get(RANKING.name)

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
class PairTest:
    """Two rows of the results table, held against each other text by text. Differences are first less second."""

    first: int
    """Number of the row."""
    second: int
    differences: Mapping[str, Interval]
    """Name of each metric that has intervals -> the difference."""
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

    @property
    def lead(self) -> Interval:
        """The difference in the metric by which rows are ranked."""
        return self.differences[RANKING.name]

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
    label_type: LabelType = "class"
    """What was predicted, where predictions were read."""

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
        """Numbers of the rows that have predictions, the highest score first."""
        scored = [(-row.score.value, number) for number, row in enumerate(self.rows) if row.score]
        return [number for _, number in sorted(scored)]

    @property
    def discordance(self) -> float | None:
        """Median over the pairs; None without a pair."""
        return float(np.median([pair.discordance for pair in self.pairs])) if self.pairs else None

    @property
    def smallest_gap(self) -> float | None:
        """The difference in the ranking metric that the median pair would show with 80 % power at the 5 % level, as a share.

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
        table: The results table; its column `run_ids` says which runs make a row.
        runs: All runs of the table.
        recorded: Their predictions.
    """
    by_id = {run.run_id: run for run in runs}
    number_of = {run_id: number for number, run_id in enumerate(recorded.run_ids)}
    names, guesses = label_rows(table), [not reads_texts(strategy) for strategy in table["strategy"]]
    baselines = list(map(is_baseline, table["strategy"]))
    ids = [text.split() for text in table["run_ids"]]
    members = [_by_seed([by_id[run_id] for run_id in row if run_id in number_of], number_of) for row in ids]
    rows = [
        RowStatistics(name, len(mine), len(row) - len(mine), is_baseline=baseline, is_guess=is_guess)
        for name, mine, row, baseline, is_guess in zip(names, members, ids, baselines, guesses, strict=True)
    ]
    texts = len(recorded.gold)
    if not texts:
        rows = [
            row if is_guess else _judge_correlations(row, [by_id[run_id] for run_id in mine])
            for row, mine, is_guess in zip(rows, ids, guesses, strict=True)
        ]
        return Statistics(tuple(rows), (), texts, 0, recorded.missing)
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
    label_type: LabelType = "multi" if of_sets else "class"
    judged_pairs = _Judged.of(scores, wrong.sum(axis=2) if of_sets else wrong.astype(np.int8), wording(label_type).pair_test)
    pairs = _test_pairs(members, judged_pairs)
    statistics = Statistics(tuple(rows), pairs, texts, scores.resamples, recorded.missing, guess.right, label_type)
    return replace(statistics, rows=_with_groups(statistics))


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
    estimates = _estimates(scores, [np.eye(len(scores.covariance[RANKING.name]))[list(numbers)]])
    return {name: score.interval(_BY_NAME[name].lowest, _BY_NAME[name].highest) for name, score in estimates.items()}


def _differences(estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
    spans = {name: _BY_NAME[name].highest - _BY_NAME[name].lowest for name in estimates}
    return {name: difference.interval(-spans[name], spans[name]) for name, difference in estimates.items()}


def _by_seed(runs: Sequence[Run], number_of: Mapping[str, int]) -> dict[Seeds, int]:
    """Seeds -> number among the recorded runs; a seed that stands twice is counted on."""
    numbers: dict[Seeds, int] = {}
    for run in runs:
        seeds = tuple(run.params.get(name) for name in SEEDS)
        repetition = sum(key[:-1] == seeds for key in numbers)
        numbers[(*seeds, repetition)] = number_of[run.run_id]
    return numbers


def _estimates(scores: ResampledScores, parts: Sequence[Floats]) -> dict[str, Estimate]:
    return {name: estimate(values, scores.covariance[name], parts) for name, values in scores.scores.items()}


def _test_pairs(members: Sequence[Mapping[Seeds, int]], judged: _Judged) -> tuple[PairTest, ...]:
    known = [number for number, mine in enumerate(members) if mine]
    tests = [_test_pair(first, second, members[first], members[second], judged) for first, second in combinations(known, 2)]
    corrected = holm([test.p_value for test in tests])
    corrected_mcnemar = holm([test.p_mcnemar for test in tests])
    return tuple(
        replace(test, p_holm=float(p_holm), p_mcnemar_holm=float(p_mcnemar_holm))
        for test, p_holm, p_mcnemar_holm in zip(tests, corrected, corrected_mcnemar, strict=True)
    )


@dataclass(frozen=True)
class _Judged:
    """What every run got right; runs are counted as they were recorded."""

    scores: ResampledScores
    texts: int
    only: NDArray[np.int64]
    """On how many texts only the first of two runs is right, or is the less wrong; shape [runs, runs]."""
    p_mcnemar: Floats
    """That both are so equally often; shape [runs, runs]."""
    pair_test: str

    @staticmethod
    def of(scores: ResampledScores, wrong: NDArray[np.integer], pair_test: str) -> _Judged:
        """From how wrong each run is on each text, 0 or 1 or its number of wrong labels; shape [runs, texts]."""
        only = count_wins(wrong)
        return _Judged(scores, wrong.shape[1], only, exact_mcnemar(only, only.T), pair_test)


def _test_pair(first: int, second: int, runs: Mapping[Seeds, int], others: Mapping[Seeds, int], judged: _Judged) -> PairTest:
    """The test of two rows, given the runs of both by seed; its p-values are not corrected yet."""
    identity = np.eye(len(judged.only))
    shared = [seeds for seeds in runs if seeds in others]
    if shared:
        mine, theirs = [runs[seeds] for seeds in shared], [others[seeds] for seeds in shared]
        parts = [identity[mine] - identity[theirs]]
    else:  # every run with every other
        mine, theirs = np.repeat(list(runs.values()), len(others)).tolist(), [*others.values()] * len(runs)
        parts = [identity[list(runs.values())], -identity[list(others.values())]]
    discordant = float((judged.only[mine, theirs] + judged.only[theirs, mine]).mean())
    estimates = _estimates(judged.scores, parts)
    p_bootstrap, p_mcnemar = estimates[RANKING.name].p_value(), combine_dependent(judged.p_mcnemar[mine, theirs])
    decided_by = judged.pair_test if discordant < _FEWEST_DISCORDANT and p_mcnemar > p_bootstrap else BOOTSTRAP
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
        smallest_gap=estimates[RANKING.name].smallest_gap(),
        paired_seeds=len(shared),
        decided_by=decided_by,
    )


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
