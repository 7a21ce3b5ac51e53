"""Text made fit for a terminal, which takes some characters for orders: to move, to recolour, to turn the line around."""

import re

# C0 and C1 controls and DEL, marks and overrides of the writing direction, line separators, and halves of surrogate pairs,
# which no UTF-8 holds.
_ORDERS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""One line of text in which such characters are written as Python would, such as `\x1b`; all others stay."""
    return _ORDERS.sub(lambda found: repr(found[0])[1:-1], text)
