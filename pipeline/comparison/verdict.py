"""The verdict in three sentences: which is best, what it may cost less, and what cannot be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.comparison.statistics import PairTest, RowStatistics, Statistics
from pipeline.comparison.table import headline
from pipeline.errors import enumerate_some
from pipeline.evaluation.uncertainty import Interval, smallest_accuracy_gap

_NAMED = 6  # of more rows only the number is said


@dataclass(frozen=True)
class Verdict:
    """What follows from the figures. Rows are given by their number in the table."""

    top: int | None
    """The row of the highest macro F1; None where no row has predictions or the rows are not ranked."""
    ahead: tuple[int, ...]
    """Rows that are better than it on the seeds that both have; only where rows lack seeds."""
    tied: tuple[int, ...]
    """Rows that cannot be told apart from it."""
    behind: tuple[int, ...]
    """Rows that are worse than it."""
    untested: tuple[int, ...]
    """Rows without predictions."""
    sentences: tuple[str, ...]
    """Rank, cost, and limits; where labels are scores one that says why there is none of these."""


def reach_verdict(
    statistics: Statistics,
    table: pd.DataFrame,
    left_out: int = 0,
    unequal: Sequence[str] = (),
    ranked: bool = True,
    missing: Sequence[str] = (),
) -> Verdict:
    """Say what the tests of `statistics` show of the rows of `table`, and nothing else.

    "Behind", "ahead" and "better" are said of pairs alone that differ after Holm's correction.

    Args:
        left_out: Number of runs that are not in the table.
        unequal: In what the rows were not treated alike.
        ranked: Whether the rows may be ranked; if not, no row is named as best, whatever the tests show.
        missing: What a study has planned and not begun.
    """
    rows = statistics.rows
    untested = tuple(number for number, row in enumerate(rows) if row.f1_macro is None)
    if headline(table) == "spearman":
        return Verdict(None, (), (), (), untested, (_OF_SCORES,))
    limits = _limits(statistics, untested, left_out, unequal if ranked else (), missing)
    if not ranked:
        rank = f"The strategies are not ranked: they were {' and '.join(unequal)}."
        return Verdict(None, (), (), (), untested, (rank, _UNRANKED_COST, limits))
    if not statistics.known:
        return Verdict(None, (), (), (), untested, (_NOTHING, _NO_COST, limits))
    top, *others = statistics.known
    winners = {number: test.better for number in others if (test := statistics.pair(top, number)) is not None}
    ahead = tuple(number for number in others if winners[number] == number)
    behind = tuple(number for number in others if winners[number] == top)
    tied = tuple(number for number in others if winners[number] is None)
    rank = _rank(statistics, top, ahead, tied, behind)
    return Verdict(top, ahead, tied, behind, untested, (rank, _cost(rows, table, top, ahead, tied, behind), limits))


_OF_SCORES = (
    "Intervals, tests and groups are of classes: of correlations with true scores none is computed, so nothing is said of "
    "which differences are more than chance."
)
_NOTHING = "Nothing can be said of how the strategies rank: no run has predictions that can be read."
_UNRANKED_COST = "So none is named that costs less; the tests compare the trained models, not the strategies."
_NO_COST = "So nothing can be said either of what a cheaper strategy would lose."


def _rank(statistics: Statistics, top: int, ahead: Sequence[int], tied: Sequence[int], behind: Sequence[int]) -> str:
    rows = statistics.rows
    best = rows[top].name
    score = f"macro F1 {_figures(rows[top].f1_macro)}{_say_seeds(rows[top])}"
    if not (ahead or tied or behind):
        return f"{best} ({score}) stands alone: there is no other row to hold it against."
    if ahead:  # rows that lack some seeds are held against each other on those that both have
        verb = "is" if len(ahead) == 1 else "are"
        return (
            f"{best} has the highest score ({score}), but {_enumerate(rows, ahead)} {verb} better on the seeds that both have, "
            "so no best one is named."
        )
    if not behind:
        return f"No difference was shown between {best}, which has the highest score ({score}), and {_enumerate(rows, tied)}."
    nearest = behind[0]
    whom = "" if len(behind) == 1 else f"{rows[nearest].name} "
    clause = (
        f"{_enumerate(rows, behind)} {'is' if len(behind) == 1 else 'are'} behind, "
        f"{whom}by {_lead(statistics.pair(top, nearest), top)}"
    )
    if not tied:
        return f"{best} is ahead of all others ({score}): {clause}."
    return f"{best} has the highest score ({score}), and no difference to {_enumerate(rows, tied)} was shown; {clause}."


def _cost(
    rows: Sequence[RowStatistics],
    table: pd.DataFrame,
    top: int,
    ahead: Sequence[int],
    tied: Sequence[int],
    behind: Sequence[int],
) -> str:
    """Which of the rows that may be the best trains the smallest share of the parameters, those aside that learned nothing."""
    best = rows[top].name
    ahead, tied = ([number for number in which if not rows[number].learned_nothing] for which in (ahead, tied))
    share = table["trainable_percent"].astype(float).tolist() if "trainable_percent" in table else [float("nan")] * len(rows)
    trained = [number for number in (top, *ahead, *tied) if not math.isnan(share[number])]
    if not trained:
        return f"What share of the parameters {best} trained is not recorded."
    if not (ahead or tied):
        rest = f", and no other row was shown to be as good as {best}" if behind else ""
        return f"It trains {share[top]:.3g} % of the parameters{rest}."
    least = min(trained, key=lambda number: share[number])
    if least == top:
        return f"Of these, {best} trains the smallest share of the parameters, {share[top]:.3g} %."
    against = "" if math.isnan(share[top]) else f" instead of the {share[top]:.3g} % of {best}"
    caution = "; that no loss was shown does not mean that there is none" if least in tied else ""
    return f"Of these, {rows[least].name} trains the smallest share of the parameters, {share[least]:.3g} %{against}{caution}."


def _limits(
    statistics: Statistics, untested: Sequence[int], left_out: int, unequal: Sequence[str], missing: Sequence[str]
) -> str:
    """What the figures cannot carry."""
    rows = statistics.rows
    limits = []
    known = [row for row in rows if row.f1_macro is not None]
    fewest = min((row.seeds for row in known), default=0)
    if fewest == 1:
        whom = "" if all(row.seeds == 1 for row in known) else f" for {_enumerate(known, _with_one_seed(known))}"
        limits.append(f"there is one seed{whom}, so this is said of the trained models and not of what another seed would give")
    elif fewest == 2:
        limits.append("two seeds do not tell how much seeds differ, so small differences may still be chance")
    gap, kind, provided = statistics.smallest_gap, "macro F1", "before the correction for many pairs"
    if gap is None and statistics.pairs:
        gap, kind, provided = smallest_accuracy_gap(statistics.texts), "accuracy", "if one text in twenty is judged differently"
    if gap is not None and gap > 1:
        limits.append(f"{statistics.texts:,} test texts and so few seeds cannot be relied on to show any difference at all")
    elif gap is not None:
        limits.append(
            f"{statistics.texts:,} test texts show a difference in {kind} of {100 * gap:.1f} points or more between two rows "
            f"(four times in five, {provided}), hardly a smaller one"
        )
    elif known:
        limits.append(f"the interval is that of {statistics.texts:,} test texts of one data set")
    if untested:
        limits.append(f"nothing is said of {_enumerate(rows, untested)}, without predictions")
    if partly := [number for number, row in enumerate(rows) if row.missing and row.f1_macro]:
        limits.append(f"some runs of {_enumerate(rows, partly)} have no predictions and are left out here")
    if unequal:
        limits.append(f"the rows were {' and '.join(unequal)}, so this is said of trained models and not of strategies")
    if left_out:
        limits.append(f"{left_out} run(s) are not in the table, and nothing is said of them")
    if missing:
        limits.append(f"planned and missing: {enumerate_some(missing, _NAMED)}")
    return f"Limits: {'; '.join(limits) or 'nothing was measured'}."


def _with_one_seed(rows: Sequence[RowStatistics]) -> list[int]:
    return [number for number, row in enumerate(rows) if row.seeds == 1]


def _lead(test: PairTest | None, top: int) -> str:
    """By how much the row `top` is better, with the interval."""
    assert test is not None  # whoever is behind was tested
    value, low, high = test.f1_macro.value, test.f1_macro.low, test.f1_macro.high
    value, low, high = (value, low, high) if test.first == top else (-value, -high, -low)
    return f"{100 * value:.1f} points ({100 * low:.1f} to {100 * high:.1f})"


def _figures(interval: Interval | None) -> str:
    assert interval is not None  # only rows with predictions are ranked
    return f"{interval.value:.3f}, 95 % interval {interval.low:.3f} to {interval.high:.3f}"


def _say_seeds(row: RowStatistics) -> str:
    """Of how many seeds a score is, where that are not all of the table's."""
    return f", over {row.seeds} of {row.seeds + row.missing} seeds" if row.missing else ""


def _enumerate(rows: Sequence[RowStatistics], numbers: Sequence[int]) -> str:
    if len(numbers) > _NAMED:
        return f"{len(numbers)} others"
    names = [rows[number].name for number in numbers]
    between = "; " if any("," in name for name in names) else ", "
    return names[0] if len(names) == 1 else f"{between.join(names[:-1])} and {names[-1]}"
