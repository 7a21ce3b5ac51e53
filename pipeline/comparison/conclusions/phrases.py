"""Rows and differences as sentences name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.comparison.statistics import RowStatistics, Statistics
from pipeline.evaluation.metric import Metric

MOST_NAMED = 6
"""Of more rows only the number is said."""


@dataclass(frozen=True)
class Unit:
    """How differences in a metric are written."""

    factor: int
    """By which they are multiplied: 100 of what is said in points."""
    word: str
    decimals: int

    @classmethod
    def of(cls, metric: Metric) -> Unit:
        """Points, or of what has no highest value its own unit."""
        return cls(100, " points", 1) if metric.has_points else cls(1, "", 3)

    def say(self, difference: float) -> str:
        """With the word."""
        return f"{self.figure(difference)}{self.word}"

    def figure(self, difference: float) -> str:
        """Without it; what is nought once it is rounded has no sign."""
        return f"{self.factor * difference:z.{self.decimals}f}"


def say_lead(statistics: Statistics, top: int, other: int) -> str:
    """By how much the row `top` is better than another, with the interval."""
    test, unit = statistics.pair(top, other), Unit.of(statistics.metric)
    assert test is not None  # whoever is behind was tested
    value, low, high = (unit.factor * figure for figure in (test.lead.value, test.lead.low, test.lead.high))
    value, low, high = (value, low, high) if test.first == top else (-value, -high, -low)
    # With one decimal a bound just above 0 would read as if the interval held it.
    least = unit.decimals
    tried = range(least, least + 3)
    decimals = next((count for count in tried if all(_keeps_sign(figure, count) for figure in (value, low, high))), least + 3)
    return f"{value:z.{decimals}f}{unit.word} ({low:z.{decimals}f} to {high:z.{decimals}f})"


def _keeps_sign(figure: float, decimals: int) -> bool:
    """Whether what is not 0 is not printed as 0 either."""
    return figure == 0 or round(figure, decimals) != 0


def tell_apart(shares: Sequence[float]) -> Callable[[float], str]:
    """How shares are printed: in three digits, or as the table does in four where only these tell them apart."""
    short, long = ({format(share, form) for share in shares} for form in (".3g", ".4g"))
    return (lambda share: f"{share:.3g}") if len(short) == len(long) else (lambda share: f"{share:.4g}")


def enumerate_rows(rows: Sequence[RowStatistics], numbers: Sequence[int], many: str = "others") -> str:
    """The names of rows, or how many there are."""
    if len(numbers) > MOST_NAMED:
        return f"{len(numbers)} {many}"
    return list_names([rows[number].name for number in numbers])


def list_names(names: Sequence[str]) -> str:
    """`a, b and c`."""
    between = "; " if any("," in name for name in names) else ", "
    return names[0] if len(names) == 1 else f"{between.join(names[:-1])} and {names[-1]}"
