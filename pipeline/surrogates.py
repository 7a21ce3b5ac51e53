"""Halves of surrogate pairs: code points that are no characters, and that no UTF-8 holds."""

import re

_HALF = re.compile("[\ud800-\udfff]")


def has_surrogate(text: str) -> bool:
    """Whether a text cannot be written in UTF-8, as one that was typed in another encoding than the terminal's."""
    return _HALF.search(text) is not None
