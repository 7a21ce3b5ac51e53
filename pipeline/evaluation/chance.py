"""Scores so far below chance that a model must know better than it answers. Imports nothing of weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

SWAPPED = "far below chance: the classes may be swapped"

_STANDARD_ERRORS = 3
_SHARE_OF_CHANCE = 0.5


def is_far_below_chance(recall_macro: float, counts: Sequence[int]) -> bool:
    """Whether macro recall (balanced accuracy) is less than half of what guessing gives, and by more than chance explains.

    Macro recall, because a model that answers one class alone comes to chance by it, however rare that class is.

    Args:
        counts: Examples of each class; a class without any counts as a recall of 0.
    """
    present = [count for count in counts if count]
    if len(counts) < 2 or not present:
        return False
    share = 1 / len(counts)
    chance = share * len(present) / len(counts)
    error = math.sqrt(share * (1 - share) * sum(1 / count for count in present)) / len(counts)
    return recall_macro < min(_SHARE_OF_CHANCE * chance, chance - _STANDARD_ERRORS * error)
