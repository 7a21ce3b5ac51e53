"""The verdict: the best row, a cheaper one not shown to be worse, and what cannot be concluded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.comparison.conclusions.fastest import say_fastest
from pipeline.comparison.conclusions.phrases import MOST_NAMED, Unit, enumerate_rows, list_names, say_lead, tell_apart
from pipeline.comparison.conclusions.wording import wording
from pipeline.comparison.pair_tests import HOLM, PairTest
from pipeline.comparison.statistics import RowStatistics, Statistics
from pipeline.errors import enumerate_some
from pipeline.evaluation.statistics.intervals import smallest_accuracy_gap

_OVERRULED = 3  # pairs against their interval that are named one by one
_SHOWN_DECIMALS = 4  # of a score in the table: what is printed alike is not called higher


@dataclass(frozen=True)
class Verdict:
    """What follows from the figures. Rows are given by their number in the table."""

    top: int | None
    """The row of the best score of those that learned; None where there is none, or the rows are not ranked."""
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
    unlearned: tuple[int, ...] = ()
    """Rows that did not learn, or with so many of their seeds that nothing can be said of them; they are not ranked."""


def reach_verdict(
    statistics: Statistics,
    table: pd.DataFrame,
    left_out: int = 0,
    unequal: Sequence[str] = (),
    ranked: bool = True,
    missing: Sequence[str] = (),
) -> Verdict:
    """Say what the tests of `statistics` show of the rows of `table`, and nothing else.

    "Behind", "ahead" and "better" are said of pairs alone that differ after Holm's correction. Of a row that did not learn
    nothing else is said.

    Args:
        left_out: Number of runs that are not in the table.
        unequal: In what the rows were not treated alike.
        ranked: Whether the rows may be ranked; if not, no row is named as best, whatever the tests show.
        missing: What a study has planned and not begun.
    """
    rows = statistics.rows
    of_scores = statistics.metric.of == "score"
    untested = () if of_scores else tuple(number for number, row in enumerate(rows) if row.score is None)
    unlearned = tuple(number for number, row in enumerate(rows) if row.set_apart)
    not_learned = " ".join(_not_learned(statistics, unlearned, of_scores))
    if of_scores:
        return Verdict(None, (), (), (), untested, (_joined(_OF_SCORES, not_learned),), unlearned)
    limits = _limits(statistics, untested, left_out, unequal if ranked else (), missing)
    if not ranked:
        rank = f"The strategies are not ranked: they were {' and '.join(unequal)}."
        sentences = (_joined(rank, not_learned), _UNRANKED_COST, limits)
        return Verdict(None, (), (), (), untested, sentences, unlearned)
    learned = [number for number in statistics.known if number not in unlearned]
    learned.sort(key=lambda number: rows[number].is_guess)
    if not learned or (unlearned and rows[learned[0]].is_guess):
        none = _NONE_LEARNED.format(with_seeds=_with_seeds(rows, unlearned)) if unlearned else _NOTHING
        rank = _joined(none, not_learned)
        return Verdict(None, (), (), (), untested, (rank, _NO_COST, limits), unlearned)
    top, *others = learned
    winners = {number: test.better for number in others if (test := statistics.pair(top, number)) is not None}
    ahead = tuple(number for number in others if winners[number] == number)
    behind = tuple(number for number in others if winners[number] == top)
    tied = tuple(number for number in others if winners[number] is None)
    ranking = _Ranking(statistics, table, top, ahead, tied, behind, unlearned, untested)
    baseline = _say_against_baseline(statistics)
    rank = _joined(ranking.rank(), baseline, *ranking.against_intervals(), not_learned)
    cost = _joined(ranking.cost(), say_fastest(rows, table, [top, *ahead, *tied]))
    return Verdict(top, ahead, tied, behind, untested, (rank, cost, limits), unlearned)


_OF_SCORES = (
    "Tests and groups are of classes: correlations with true scores are not held against each other, so nothing is said of "
    "which differences are more than chance."
)
_NOTHING = "Nothing can be said of how the strategies rank: no run has predictions that can be read."
_NONE_LEARNED = "Nothing can be said of how the strategies rank: there is no row that learned{with_seeds}."
_UNRANKED_COST = "So none is named that costs less; the tests compare the trained models, not the strategies."
_NO_COST = "So nothing can be said either of what a cheaper strategy would lose."


@dataclass(frozen=True)
class _Ranking:
    """The rows by what the tests show of each and the one with the best score."""

    statistics: Statistics
    table: pd.DataFrame
    top: int
    ahead: Sequence[int]
    tied: Sequence[int]
    behind: Sequence[int]
    unlearned: Sequence[int]
    untested: Sequence[int]

    @property
    def rows(self) -> Sequence[RowStatistics]:
        """Of the table."""
        return self.statistics.rows

    @property
    def best(self) -> str:
        """Name of the row with the best score."""
        return self.rows[self.top].name

    def rank(self) -> str:
        """Which row is best, as far as that can be said."""
        highest = self._highest()
        if not (self.ahead or self.tied or self.behind):
            others = " with predictions" * bool(self.untested) + self._that_learned()
            return f"{self.best} ({self._score([self.top])}) is the only row{others}; there is nothing to compare it with."
        if self.ahead:  # rows that lack some seeds are held against each other on those that both have
            verb = "is" if len(self.ahead) == 1 else "are"
            better = f"{enumerate_rows(self.rows, self.ahead)} {verb} better on the seeds that both have"
            return f"{highest}, but {better}, so no best one is named."
        named = enumerate_rows(self.rows, self.tied) if self.tied else ""
        if not self.behind:
            if len(self._leaders()) > 1:
                return f"{highest}, and no difference between {self.best} and {named} was shown."
            return f"No difference was shown between {highest.replace(' has ', ', which has ', 1)}, and {named}."
        nearest = self.behind[0]
        whom = "" if len(self.behind) == 1 else f"{self.rows[nearest].name} "
        clause = (
            f"{enumerate_rows(self.rows, self.behind)} {'is' if len(self.behind) == 1 else 'are'} behind, "
            f"{whom}by {say_lead(self.statistics, self.top, nearest)}"
        )
        if self.tied:
            to = f"between {self.best} and {named}" if len(self._leaders()) > 1 else f"to {named}"
            return f"{highest}, and no difference {to} was shown; {clause}."
        if self.untested or self.unlearned:
            return f"{highest}; {clause}."
        return f"{self.best} is ahead of all others ({self._score([self.top])}): {clause}."

    def against_intervals(self) -> Iterator[str]:
        """Where what decides says other than the interval of a difference to the row with the best score."""
        for which, says in ((self.tied, "leaves out 0"), (self.behind, "holds 0")):
            by_reason: dict[str, list[int]] = {}
            for number in which:
                test = self.statistics.pair(self.top, number)
                if test is not None and test.overruled_by:
                    by_reason.setdefault(explain_overruling(test, self.statistics), []).append(number)
            for reason, numbers in by_reason.items():
                listed = [
                    f"{self.rows[number].name}, {say_lead(self.statistics, self.top, number)},"
                    for number in numbers[:_OVERRULED]
                ]
                more = f" and {len(numbers) - _OVERRULED} more" if len(numbers) > _OVERRULED else ""
                each = "" if len(numbers) == 1 else " each"
                yield (
                    f"The 95 % interval of {self.best}'s lead over {' over '.join(listed)}{more}{each} {says}, but {reason}."
                )

    def cost(self) -> str:
        """Which of the rows that may be the best trains the smallest share of the parameters."""
        best = self.best
        best_rows = [self.top, *self.ahead, *self.tied]
        candidates = [number for number in best_rows if not self.rows[number].is_baseline]
        if not candidates:
            verb = "trains" if len(best_rows) == 1 else "train"
            return f"{enumerate_rows(self.rows, best_rows, 'rows')} {verb} no encoder."
        shares = self._shares()
        recorded = [number for number in candidates if not math.isnan(shares[number])]
        if not recorded:
            return f"What share of the parameters {enumerate_rows(self.rows, candidates, 'rows')} trained is not recorded."
        say = tell_apart([shares[number] for number in recorded])
        unknown = [number for number in candidates if number not in recorded]
        unsaid = f"; what share {enumerate_rows(self.rows, unknown, 'rows')} trained is not recorded" if unknown else ""
        if len(recorded) == 1:
            rest = f", and no other row was shown to be as good as {best}" if self.behind and len(best_rows) == 1 else ""
            return f"{self.rows[recorded[0]].name} trains {say(shares[recorded[0]])} % of the parameters{rest}{unsaid}."
        least = min(shares[number] for number in recorded)
        smallest = [number for number in recorded if say(shares[number]) == say(least)]
        if len(smallest) == len(recorded):
            return (
                f"{enumerate_rows(self.rows, recorded, 'rows')} train the same share of the parameters, {say(least)} %{unsaid}."
            )
        several = len(smallest) > 1
        verb, each = ("train", " each") if several else ("trains", "")
        against = f" instead of the {say(shares[self.top])} % of {best}"
        if self.top in smallest or self.top not in recorded:
            against = ""
        caution = "; that no loss was shown does not mean that there is none" if set(smallest) & set(self.tied) else ""
        if self.top in smallest:
            caution = ""
        those, theirs = (enumerate_rows(self.rows, which, "rows") for which in (recorded, smallest))
        return (
            f"Of {those}, which may be the best, {theirs} {verb} the smallest share of the parameters, {say(least)} %{each}"
            f"{against}{caution}{unsaid}."
        )

    def _highest(self) -> str:
        """Who has the best score; what the table prints alike shares it."""
        leaders = self._leaders()
        verb = "share" if len(leaders) > 1 else "has"
        among = ""
        if any(max(self._shown(number), self._in_table(number)) >= self._lowest(leaders) for number in self.unlearned):
            among = f" of the rows{self._that_learned()}"
        if self._is_behind_in_table(leaders):
            among += " by the predictions that could be read"
        best = f"{verb} the {self.statistics.metric.superlative} score{among} ({self._score(leaders)})"
        return f"{enumerate_rows(self.rows, leaders, 'rows')} {best}"

    def _that_learned(self) -> str:
        return f" that learned{_with_seeds(self.rows, self.unlearned)}" if self.unlearned else ""

    def _leaders(self) -> list[int]:
        """The row with the best score, and those not told apart from it whose score is printed alike."""
        return [self.top, *(number for number in self.tied if self._shown(number) == self._shown(self.top))]

    def _shown(self, number: int) -> float:
        """How good the row is, by the score that is shown."""
        interval = self.rows[number].score
        return self.statistics.metric.goodness(round(interval.value, _SHOWN_DECIMALS)) if interval else float("nan")

    def _is_behind_in_table(self, leaders: Sequence[int]) -> bool:
        """Whether a row has a better mean than one of these in the table, which counts seeds without predictions, too."""
        lowest = min(self._in_table(number) for number in leaders)
        return any(self._in_table(number) > lowest for number in range(len(self.rows)) if number not in self.unlearned)

    def _in_table(self, number: int) -> float:
        """The same by the row's mean in the table, which counts seeds without predictions, too."""
        metric = self.statistics.metric
        if metric.name not in self.table:
            return self._shown(number)
        return metric.goodness(round(float(self.table[metric.name].iloc[number]), _SHOWN_DECIMALS))

    def _lowest(self, leaders: Sequence[int]) -> float:
        """The least good that is shown of these, by their predictions or in the table."""
        return min(shown for number in leaders for shown in (self._shown(number), self._in_table(number)))

    def _score(self, leaders: Sequence[int]) -> str:
        """The score and the intervals; of how many seeds it is, where that are not all of the table's."""
        rows = [self.rows[number] for number in leaders]
        intervals = [row.score for row in rows if row.score]
        ranges = [f"{interval.low:.3f} to {interval.high:.3f}" for interval in intervals]
        said = f"{self.statistics.metric.label} {intervals[0].value:.3f}"
        if len({*ranges}) == 1:
            said += f", 95 % interval {ranges[0]}"
        elif len(ranges) <= MOST_NAMED:
            said += f", 95 % intervals {list_names(ranges)}"
        for row in rows:
            if not row.missing:
                continue
            whose = "" if len(rows) == 1 else f" of {row.name}"
            said += f", over {row.seeds} of {row.seeds + row.missing} seeds{whose}"
        return said

    def _shares(self) -> list[float]:
        if "trainable_percent" not in self.table:
            return [float("nan")] * len(self.rows)
        return [float(share) for share in self.table["trainable_percent"].astype(float)]


def explain_overruling(test: PairTest, statistics: Statistics) -> str:
    """Why a pair was not decided as the interval of its difference says; follows "but"."""
    if test.overruled_by == HOLM:
        return f"Holm's correction for {len(statistics.pairs)} pairs leaves no difference shown"
    shown = "a difference" if test.different else "no difference"
    texts = test.discordance * statistics.texts
    return (
        f"where so few texts are judged differently ({texts:.3g} of {statistics.texts:,}) "
        f"{wording(statistics.label_type).of_pairs} decides, and {shown} is shown"
    )


def say_not_learned(row: RowStatistics) -> str:
    """That a row, or so many of its seeds, did not learn."""
    if row.learned_nothing:
        seeds = "" if row.judged == 1 else f" with any of its {row.judged} seeds"
        return f"{row.name} did not learn{seeds}"
    return f"{len(row.unlearned)} of {row.judged} seeds of {row.name} did not learn"


def _not_learned(statistics: Statistics, unlearned: Sequence[int], of_scores: bool) -> Iterator[str]:
    """Sentences on the rows that did not learn."""
    rows = [statistics.rows[number] for number in unlearned]
    nothing = [row for row in rows if row.learned_nothing]
    words = wording(statistics.label_type)
    if len(nothing) == 1 and (right := nothing[0].intervals.get(words.right.name)):
        yield (
            f"{say_not_learned(nothing[0])}: its {words.right.label}, {right.value:.3f} (95 % interval {right.low:.3f} to "
            f"{right.high:.3f}), is not shown to be above {statistics.majority:.3f}, that of {words.most_frequent}."
        )
    elif nothing:
        names = enumerate_rows(nothing, range(len(nothing)), "rows")
        than = (
            "the 95 % interval of the correlation with the true scores does not lie above 0"
            if of_scores
            else f"the {words.right.label} is not shown to be above {statistics.majority:.3f}, that of {words.most_frequent}"
        )
        yield f"{names} did not learn: {than}."
    for row in rows:
        if not row.learned_nothing:
            yield f"{say_not_learned(row)}, so its mean is not ranked."


def _with_seeds(rows: Sequence[RowStatistics], unlearned: Sequence[int]) -> str:
    """Of rows that learned with some of their seeds it is not said that they did not learn."""
    return "" if all(rows[number].learned_nothing for number in unlearned) else " with enough of its seeds"


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _limits(
    statistics: Statistics, untested: Sequence[int], left_out: int, unequal: Sequence[str], missing: Sequence[str]
) -> str:
    """What the figures cannot carry."""
    rows = statistics.rows
    limits = []
    known = [row for row in rows if row.score is not None]
    fewest = min((row.seeds for row in known), default=0)
    if fewest == 1:
        whom = "" if all(row.seeds == 1 for row in known) else f" for {enumerate_rows(known, _with_one_seed(known))}"
        limits.append(f"there is one seed{whom}, so this is said of the trained models and not of what another seed would give")
    elif fewest == 2:
        limits.append("two seeds do not tell how much seeds differ, so small differences may still be chance")
    gap, metric, provided = statistics.smallest_gap, statistics.metric, "before the correction for many pairs"
    if gap is None and statistics.pairs:
        gap, metric = smallest_accuracy_gap(statistics.texts), wording(statistics.label_type).right
        provided = "if one text in twenty is judged differently"
    if gap is not None and gap > metric.span:
        limits.append(f"{statistics.texts:,} test texts and so few seeds cannot be relied on to show any difference at all")
    elif gap is not None:
        limits.append(
            f"{statistics.texts:,} test texts show a difference in {metric.label} of {Unit.of(metric).say(gap)} or more "
            f"between two rows at least four times in five ({provided}), a smaller one less often"
        )
    elif known:
        limits.append(f"the interval is that of {statistics.texts:,} test texts of one data set")
    if untested:
        limits.append(f"nothing is said of {enumerate_rows(rows, untested)}, without predictions")
    if partly := [number for number, row in enumerate(rows) if row.missing and row.score]:
        limits.append(f"some runs of {enumerate_rows(rows, partly)} have no predictions and are left out here")
    limits += [f"{say_not_learned(row)}, and count in its mean" for row in rows if row.unlearned and not row.set_apart]
    if unequal:
        limits.append(f"the rows were {' and '.join(unequal)}, so this is said of trained models and not of strategies")
    if left_out:
        limits.append(f"{left_out} run(s) are not in the table, and nothing is said of them")
    if missing:
        limits.append(f"planned and missing: {enumerate_some(missing, MOST_NAMED)}")
    return f"Limits: {'; '.join(limits) or 'nothing was measured'}."


def _with_one_seed(rows: Sequence[RowStatistics]) -> list[int]:
    return [number for number, row in enumerate(rows) if row.seeds == 1]


def _say_against_baseline(statistics: Statistics) -> str:
    """Which rows are shown better than the best baseline that learned from the texts, and which are not; a sentence or two.

    "Shown" is what the test of the pair says after Holm's correction, as everywhere in the verdict. Empty where the table has
    no such baseline, or nothing else.
    """
    rows, known = statistics.rows, statistics.known
    baselines = [
        number for number in known if rows[number].is_baseline and not (rows[number].is_guess or rows[number].set_apart)
    ]
    others = [number for number in known if not rows[number].is_baseline]
    if not baselines or not others:
        return ""
    best, name = baselines[0], f"{rows[baselines[0]].name}, which trains no encoder"
    shown = {number: test.better for number in others if (test := statistics.pair(number, best)) is not None}
    better = [number for number in others if shown.get(number) == number]
    if all(shown.get(number) == best for number in others):
        return f"{name}, is shown better than every strategy that trains one."
    if not better:
        return f"No strategy is shown better than {name}; that is no proof that none is."
    first, *more = better
    so_are = f"; so {'is' if len(more) == 1 else 'are'} {enumerate_rows(rows, more)}" if more else ""
    rest = [number for number in others if number not in better]
    are_not = f" {enumerate_rows(rows, rest)} {'is' if len(rest) == 1 else 'are'} not." if rest else ""
    return f"{rows[first].name} is shown better than {name}, by {say_lead(statistics, first, best)}{so_are}.{are_not}"
