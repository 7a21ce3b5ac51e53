"""What is to be predicted, and of what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Input = str | tuple[str, str]
"""What one prediction is made of: a text, or the two texts of a pair."""


@dataclass(frozen=True)
class Problem:
    """Classes or scores, of texts or of pairs of texts."""

    classes: tuple[str, ...]
    """In the order of their indices; empty where labels are scores."""
    score_range: tuple[float, float] | None = None
    """The scores that 0 and 1 stand for while training; None where labels are classes."""
    pairs: bool = False
    """Whether an example is a pair of texts."""

    @classmethod
    def of(cls, classes: Sequence[str], score_range: Sequence[float] | None, pairs: bool) -> Problem:
        """The problem that values from a file describe."""
        return cls(tuple(classes), (score_range[0], score_range[1]) if score_range else None, pairs)

    def describe(self) -> str:
        """In a few words."""
        what = f"{len(self.classes)} classes" if self.score_range is None else "scores"
        return f"{what} of {'pairs of texts' if self.pairs else 'single texts'}"
