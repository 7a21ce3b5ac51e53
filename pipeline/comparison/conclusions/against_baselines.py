"""Whether training an encoder was worth it: the rows held against the best baseline that reads the texts."""

from __future__ import annotations

from pipeline.comparison.conclusions.phrases import enumerate_rows, say_lead
from pipeline.comparison.statistics import Statistics


def say_against_baseline(statistics: Statistics) -> str:
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
