"""Rows and differences as sentences name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.comparison.statistics import PairTest, RowStatistics

MOST_NAMED = 6
"""Of more rows only the number is said."""


def say_lead(test: PairTest | None, top: int) -> str:
    """By how much the row `top` is better, with the interval."""
    assert test is not None  # whoever is behind was tested
    value, low, high = test.lead.value, test.lead.low, test.lead.high
    value, low, high = (value, low, high) if test.first == top else (-value, -high, -low)
    # With one decimal a bound just above 0 would read as if the interval held it.
    decimals = next((count for count in (1, 2, 3) if all(_keeps_sign(figure, count) for figure in (value, low, high))), 4)
    return f"{100 * value:.{decimals}f} points ({100 * low:.{decimals}f} to {100 * high:.{decimals}f})"


def _keeps_sign(share: float, decimals: int) -> bool:
    """Whether a share that is not 0 is not printed as 0 points either."""
    return share == 0 or round(100 * share, decimals) != 0


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
