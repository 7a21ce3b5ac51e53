"""What the predictions of compared runs say about every strategy, and about every pair of strategies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.recorded import RecordedPredictions
from pipeline.comparison.table import label_rows
from pipeline.evaluation.chance import is_far_below_chance
from pipeline.evaluation.resampling import ResampledScores, resample_scores
from pipeline.evaluation.significance import combine_dependent, exact_mcnemar, holm, letter_groups
from pipeline.evaluation.uncertainty import LEVEL, Estimate, Interval, estimate
from pipeline.identity import SEEDS
from pipeline.tracking.runs import Run

_ALPHA = 1 - LEVEL
_FEWEST_DISCORDANT = 25
"""With fewer texts on which just one model is right, the normal approximation of the difference is not trusted alone."""

BOOTSTRAP, MCNEMAR = "paired bootstrap", "McNemar"

_NOTHING_VARIES = 1e-9  # a gap that is rounding alone, as between two models that predict the same

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
    f1_macro: Interval | None = None
    accuracy: Interval | None = None
    group: str = ""
    """Rows that share a letter cannot be told apart; empty where there are no predictions."""
    constant: int = 0
    """Runs that predict one class for every text."""
    below_chance: int = 0
    """Runs that are so far below chance that their classes may be swapped."""

    @property
    def learned_nothing(self) -> bool:
        """Whether all of its runs predict one class for every text."""
        return 0 < self.seeds == self.constant


@dataclass(frozen=True)
class PairTest:
    """Two rows of the results table, held against each other text by text. Differences are first less second."""

    first: int
    """Number of the row."""
    second: int
    f1_macro: Interval
    accuracy: Interval
    p_value: float
    """That the true macro F1 is equal."""
    p_holm: float
    """The same, corrected for the number of pairs."""
    p_mcnemar: float
    """That both are right equally often, exact; over the paired seeds combined."""
    p_mcnemar_holm: float
    discordance: float
    """Mean share of the texts on which just one of two models is right."""
    smallest_gap: float
    """The difference in macro F1 that the test of this pair would show with 80 % power; 0 where nothing varies."""
    paired_seeds: int
    """Seeds that both have; 0 where they have none in common, and the means are compared."""
    decided_by: str = BOOTSTRAP
    """Whose p-value `p_value` is."""

    @property
    def different(self) -> bool:
        """Whether the two can be told apart by their macro F1."""
        return self.p_holm < _ALPHA

    @property
    def better(self) -> int | None:
        """The row that is better; None where that cannot be told."""
        if not self.different:
            return None
        return self.first if self.f1_macro.value > 0 else self.second


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

    def pair(self, one: int, other: int) -> PairTest | None:
        """The test of two rows, in whichever order; None where there is none."""
        return self._by_rows.get(frozenset((one, other)))

    @cached_property
    def _by_rows(self) -> Mapping[frozenset[int], PairTest]:
        return {frozenset((pair.first, pair.second)): pair for pair in self.pairs}

    @property
    def known(self) -> list[int]:
        """Numbers of the rows that have predictions, the highest macro F1 first."""
        scored = [(-row.f1_macro.value, number) for number, row in enumerate(self.rows) if row.f1_macro]
        return [number for _, number in sorted(scored)]

    @property
    def discordance(self) -> float | None:
        """Median over the pairs; None without a pair."""
        return float(np.median([pair.discordance for pair in self.pairs])) if self.pairs else None

    @property
    def smallest_gap(self) -> float | None:
        """The difference in macro F1 that the median pair would show with 80 % power at the 5 % level, as a share.

        From the measured standard errors, so seeds and discordance are in it; without the correction for many pairs. Pairs
        between which nothing varies are left out; None where there are no others.
        """
        gaps = [pair.smallest_gap for pair in self.pairs if pair.smallest_gap > _NOTHING_VARIES]
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
    names = label_rows(table)
    ids = [text.split() for text in table["run_ids"]]
    members = [_by_seed([by_id[run_id] for run_id in row if run_id in number_of], number_of) for row in ids]
    rows = [RowStatistics(name, len(mine), len(row) - len(mine)) for name, mine, row in zip(names, members, ids, strict=True)]
    texts = len(recorded.gold)
    if not texts:
        return Statistics(tuple(rows), (), texts, 0, recorded.missing)
    predicted = np.stack([recorded.predicted[run_id] for run_id in recorded.run_ids])
    scores = resample_scores(recorded.gold, predicted, len(recorded.classes))
    identity, several = np.eye(len(predicted)), len(np.unique(recorded.gold)) > 1
    for number, mine in enumerate(members):
        if mine:
            found = _estimates(scores, [identity[list(mine.values())]])
            f1_macro, accuracy = (found[name].interval(lowest=0.0) for name in ("f1_macro", "accuracy"))
            constant = sum(len(np.unique(predicted[run])) == 1 for run in mine.values()) if several else 0
            below = sum(_is_below_chance(recorded.gold, predicted[run], len(recorded.classes)) for run in mine.values())
            known = replace(rows[number], f1_macro=f1_macro, accuracy=accuracy)
            rows[number] = replace(known, constant=constant, below_chance=below)
    pairs = _test_pairs(members, scores, predicted == recorded.gold)
    statistics = Statistics(tuple(rows), pairs, texts, scores.resamples, recorded.missing)
    return replace(statistics, rows=_with_groups(statistics))


def _is_below_chance(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> bool:
    counts = np.bincount(gold, minlength=classes)
    right = np.bincount(gold[gold == predicted], minlength=classes)
    return is_far_below_chance(float((right / np.maximum(counts, 1)).mean()), counts.tolist())


def _by_seed(runs: Sequence[Run], number_of: Mapping[str, int]) -> dict[Seeds, int]:
    """Seeds -> number among the recorded runs; a seed that stands twice is counted on."""
    found: dict[Seeds, int] = {}
    for run in runs:
        seeds = tuple(run.params.get(name) for name in SEEDS)
        repetition = sum(key[:-1] == seeds for key in found)
        found[(*seeds, repetition)] = number_of[run.run_id]
    return found


def _estimates(scores: ResampledScores, parts: Sequence[Floats]) -> dict[str, Estimate]:
    return {name: estimate(values, scores.covariance[name], parts) for name, values in scores.scores.items()}


def _test_pairs(
    members: Sequence[Mapping[Seeds, int]], scores: ResampledScores, right: NDArray[np.bool_]
) -> tuple[PairTest, ...]:
    judged = _Judged.of(scores, right)
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
    """On how many texts only the first of two runs is right; shape [runs, runs]."""
    p_mcnemar: Floats
    """That both are right equally often; shape [runs, runs]."""

    @staticmethod
    def of(scores: ResampledScores, right: NDArray[np.bool_]) -> _Judged:
        """From whether each run is right on each text; shape [runs, texts]."""
        weights = right.astype(np.float32)
        only = np.rint(weights @ (1 - weights).T).astype(np.int64)
        return _Judged(scores, right.shape[1], only, exact_mcnemar(only, only.T))


def _test_pair(first: int, second: int, one: Mapping[Seeds, int], other: Mapping[Seeds, int], judged: _Judged) -> PairTest:
    """The test of two rows, given the runs of both by seed; its p-values are not corrected yet."""
    identity = np.eye(len(judged.only))
    shared = [seeds for seeds in one if seeds in other]
    if shared:
        mine, theirs = [one[seeds] for seeds in shared], [other[seeds] for seeds in shared]
        parts = [identity[mine] - identity[theirs]]
    else:  # every run with every other
        mine, theirs = np.repeat(list(one.values()), len(other)).tolist(), [*other.values()] * len(one)
        parts = [identity[list(one.values())], -identity[list(other.values())]]
    discordant = float((judged.only[mine, theirs] + judged.only[theirs, mine]).mean())
    found = _estimates(judged.scores, parts)
    p_bootstrap, p_mcnemar = found["f1_macro"].p_value(), combine_dependent(judged.p_mcnemar[mine, theirs])
    decided_by = MCNEMAR if discordant < _FEWEST_DISCORDANT and p_mcnemar > p_bootstrap else BOOTSTRAP
    p_value = p_mcnemar if decided_by == MCNEMAR else p_bootstrap
    return PairTest(
        first=first,
        second=second,
        f1_macro=found["f1_macro"].interval(),
        accuracy=found["accuracy"].interval(),
        p_value=p_value,
        p_holm=p_value,
        p_mcnemar=p_mcnemar,
        p_mcnemar_holm=p_mcnemar,
        discordance=discordant / judged.texts,
        smallest_gap=found["f1_macro"].smallest_gap(),
        paired_seeds=len(shared),
        decided_by=decided_by,
    )


def _with_groups(statistics: Statistics) -> tuple[RowStatistics, ...]:
    ranked = statistics.known
    rank = {number: place for place, number in enumerate(ranked)}
    letters = letter_groups(len(ranked), [(rank[pair.first], rank[pair.second]) for pair in statistics.pairs if pair.different])
    return tuple(
        replace(row, group=letters[rank[number]]) if number in rank else row for number, row in enumerate(statistics.rows)
    )


def without_groups(statistics: Statistics) -> Statistics:
    """The same for rows that are not to be ranked: the first letter would name the best."""
    return replace(statistics, rows=tuple(replace(row, group="") for row in statistics.rows))


def add_statistics(table: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """The results table with the intervals and the group of every row as further columns, where there are any."""
    if not statistics.known:
        return table
    table = table.copy()
    for name in ("f1_macro", "accuracy"):
        intervals = [getattr(row, name) for row in statistics.rows]
        table[f"{name}_low"] = [interval.low if interval else np.nan for interval in intervals]
        table[f"{name}_high"] = [interval.high if interval else np.nan for interval in intervals]
    table["group"] = [row.group for row in statistics.rows]
    return table


def tabulate_pairs(statistics: Statistics, ranked: bool = True) -> pd.DataFrame:
    """A row per pair of rows of the results table: `comparisons.csv`. No row is called better if they are not to be ranked."""
    return pd.DataFrame(
        [
            {
                "first": statistics.rows[pair.first].name,
                "second": statistics.rows[pair.second].name,
                "f1_macro_difference": pair.f1_macro.value,
                "f1_macro_low": pair.f1_macro.low,
                "f1_macro_high": pair.f1_macro.high,
                "accuracy_difference": pair.accuracy.value,
                "accuracy_low": pair.accuracy.low,
                "accuracy_high": pair.accuracy.high,
                "p_value": pair.p_value,
                "p_holm": pair.p_holm,
                "p_mcnemar": pair.p_mcnemar,
                "p_mcnemar_holm": pair.p_mcnemar_holm,
                "discordance": pair.discordance,
                "paired_seeds": pair.paired_seeds,
                "different": pair.different,
                "decided_by": pair.decided_by,
                "better": "" if pair.better is None or not ranked else statistics.rows[pair.better].name,
            }
            for pair in statistics.pairs
        ],
        columns=_PAIR_COLUMNS,
    )


_PAIR_COLUMNS = [
    *("first", "second", "f1_macro_difference", "f1_macro_low", "f1_macro_high", "accuracy_difference", "accuracy_low"),
    *("accuracy_high", "p_value", "p_holm", "p_mcnemar", "p_mcnemar_holm", "discordance", "paired_seeds"),
    *("different", "decided_by", "better"),
]
