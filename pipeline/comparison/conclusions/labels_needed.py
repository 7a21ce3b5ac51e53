"""From how many labels on which strategy pays: what the tests at each size show of every two rows, and nothing between sizes.

A row overtakes another between two measured sizes where the tests show it to be worse at the smaller one, and better at the
larger one and at every size above. Where it is never shown to be worse it does not overtake, it is better from a size on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.comparison.conclusions.phrases import MOST_NAMED, Unit, list_names
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.learning_curve.curve import Forecast, LearningCurve, SizeResults

Kind = Literal["overtakes", "from", "always", "behind", "open"]


@dataclass(frozen=True)
class Course:
    """How one row stands to another, from the fewest texts to the most."""

    row: str
    other: str
    kind: Kind
    """`overtakes`; better `from` a size on or `always`; `behind` at the largest size; `open` where no difference is shown."""
    below: int = 0
    """Of `overtakes` the largest size at which it is shown to be worse; of `from` the largest at which it is not better."""
    above: int = 0
    """The smallest size from which on it is better."""
    once: tuple[int, ...] = ()
    """Of `behind` and `open` the sizes at which it is shown to be better all the same."""
    everywhere: bool = True
    """Whether they were tested against each other at every size."""


def follow(curve: LearningCurve, row: str, other: str) -> Course | None:
    """The course of two rows over the sizes at which they were tested against each other.

    None where they were not at the largest: what holds from some size on, or at last, is not known of them.
    """
    outcomes = [(size.texts, better) for size in curve.sizes if (better := _better(size, row, other)) is not None]
    if not outcomes or outcomes[-1][0] != curve.sizes[-1].texts:
        return None
    wins = [better == row for _, better in outcomes]
    if not wins[-1]:
        once = tuple(texts for texts, better in outcomes if better == row)
        return Course(row, other, "behind" if outcomes[-1][1] == other else "open", once=once)
    first = len(wins) - next((place for place, won in enumerate(reversed(wins)) if not won), len(wins))
    if first == 0:
        return Course(row, other, "always", 0, outcomes[0][0], everywhere=len(outcomes) == len(curve.sizes))
    worse = [texts for texts, better in outcomes[:first] if better == other]
    if worse:
        return Course(row, other, "overtakes", worse[-1], outcomes[first][0])
    return Course(row, other, "from", outcomes[first - 1][0], outcomes[first][0])


def _better(size: SizeResults, row: str, other: str) -> str | None:
    """Which of two rows the test shows to be better; empty where neither, None where there is no test."""
    first, second = size.number(row), size.number(other)
    pair = None if first is None or second is None else size.statistics.pair(first, second)
    if pair is None:
        return None
    return "" if pair.better is None else size.statistics.rows[pair.better].name


def describe_labels_needed(curve: LearningCurve) -> Iterator[str]:
    """The answer in sentences; why there is none where rows are not ranked or not tested."""
    largest = curve.sizes[-1]
    if not largest.selection.ranked or not largest.statistics.pairs:
        yield "Rows are not tested against each other here, so nothing is said of which overtakes which."
        return
    references = _references(curve)
    others = [name for name in curve.names if name not in references and not _is_guess(curve, name)]
    for reference in references:
        yield from _against(curve, reference, others)
    for row in others:
        for other in others:
            course = follow(curve, row, other) if row != other else None
            if course and course.kind == "overtakes":
                yield f"{_say_overtaking([row], course)}."
    yield _at_largest(largest)
    if absent := [name for name in curve.names if largest.number(name) is None]:
        have, of = ("has", "it") if len(absent) == 1 else ("have", "them")
        yield f"{_list_rows(absent)} {have} no result at {largest.texts:,} labelled texts, so nothing is said of {of}."
    if any(row.seeds < 2 for size in curve.sizes for row in size.statistics.rows if row.score):
        yield (
            "Of rows with one seed, intervals and tests are over test texts alone: other texts to train on may turn out "
            "otherwise."
        )
    yield f"Measured at {_list_sizes([size.texts for size in curve.sizes])} labelled texts; nothing is known between them."


def _references(curve: LearningCurve) -> list[str]:
    """Against which rows all others are held: what trains no encoder, else what trains the smallest share of one."""
    largest = curve.sizes[-1]
    baselines = [row.name for row in largest.statistics.rows if row.is_baseline and not row.is_guess]
    if baselines or "trainable_percent" not in largest.table:
        return baselines
    shares = largest.table["trainable_percent"].astype(float)
    return [] if shares.isna().all() else [largest.statistics.rows[int(shares.argmin())].name]


def _is_guess(curve: LearningCurve, name: str) -> bool:
    return any(row.is_guess for _, row, _ in curve.points(name))


def _against(curve: LearningCurve, reference: str, others: Sequence[str]) -> Iterator[str]:
    """Sentences about all rows and one, those that go alike together."""
    courses = [course for row in others if (course := follow(curve, row, reference))]
    alike: dict[tuple[Kind, int, int, tuple[int, ...], bool], list[Course]] = {}
    for course in courses:
        alike.setdefault((course.kind, course.below, course.above, course.once, course.everywhere), []).append(course)
    largest = f"{curve.sizes[-1].texts:,} labelled texts"
    if courses and all(course.kind in ("behind", "open") and not course.once for course in courses):
        yield f"Nothing overtakes {reference} up to {largest}."
    for (kind, below, above, once, everywhere), same in alike.items():
        rows = [course.row for course in same]
        names, is_are, one = _list_rows(rows), "is" if len(rows) == 1 else "are", same[0]
        if kind == "overtakes":
            yield f"{_say_overtaking(rows, one)}."
        elif kind == "from":
            better = f"better than {reference} from {above:,} labelled texts on"
            yield f"{names} {is_are} shown to be {better}, and not at {below:,}."
        elif kind == "always":
            every = "every size" if everywhere else "every size that has both"
            yield f"{names} {is_are} better than {reference} at {every}, from {above:,} labelled texts on."
        elif once:
            there = f"{'it is' if len(rows) == 1 else 'they are'} worse" if kind == "behind" else "no difference was shown"
            yield f"{names} {is_are} shown to be better than {reference} at {_list_sizes(once)}; at {largest} {there}."
        elif kind == "behind":
            yield f"{names} {is_are} worse than {reference} at {largest}."
        else:
            yield f"No difference between {_list_rows([*rows, reference])} was shown at {largest}."


def _say_overtaking(rows: Sequence[str], course: Course) -> str:
    verb = "overtakes" if len(rows) == 1 else "overtake"
    return f"{_list_rows(rows)} {verb} {course.other} between {course.below:,} and {course.above:,} labelled texts"


def _at_largest(size: SizeResults) -> str:
    """Which row is best where there are most texts."""
    verdict, rows = reach_verdict(size.statistics, size.table), size.statistics.rows
    at = f"At {size.texts:,}"
    if verdict.top is None:
        return f"{at} no row is named as best."
    best = rows[verdict.top].name
    if verdict.ahead:
        return f"{at} {best} has the best score, and others are better on the seeds that both have, so none is named as best."
    if verdict.tied:
        tied = _list_rows([rows[number].name for number in verdict.tied])
        return f"{at} no difference between {best}, which has the best score, and {tied} was shown."
    return f"{at} {best} is ahead of all others." if verdict.behind else f"{at} {best} is the only row that can be judged."


def _list_rows(names: Sequence[str]) -> str:
    return list_names(names) if len(names) <= MOST_NAMED else f"{len(names)} rows"


def _list_sizes(texts: Sequence[int]) -> str:
    *sizes, last = (f"{count:,}" for count in texts)
    return f"{', '.join(sizes)} and {last}" if sizes else last


def describe_forecast(found: Forecast, curve: LearningCurve) -> str:
    """What twice the labels would bring, as a forecast, and how far off the same law was where it could be checked."""
    metric, unit = curve.metric, Unit.of(curve.metric)
    if found.score is None or found.gain is None:
        return f"{found.name}: no forecast: {found.why_not}."
    low, high = sorted((found.gain.low, found.gain.high))
    said = (
        f"{found.name}: forecast, not measured: {metric.label} {found.score.value:.3f} ({found.score.low:.3f} to "
        f"{found.score.high:.3f}) with {found.size:,} labelled texts, {unit.say(found.gain.value)} ({unit.figure(low)} to "
        f"{unit.figure(high)}) from here"
    )
    if found.checked is None or found.measured is None or found.error is None:
        return f"{said}. The forecast could not be checked."
    inside = found.checked.low <= found.measured.value <= found.checked.high
    return (
        f"{said}. Checked: from sizes up to {found.checked_to:,} it says {found.checked.value:.3f} ({found.checked.low:.3f} to "
        f"{found.checked.high:.3f}) of {curve.sizes[-1].texts:,}; measured was {found.measured.value:.3f}, so it was off by "
        f"{unit.say(abs(found.error))}{'' if inside else ', outside its interval'}."
    )
