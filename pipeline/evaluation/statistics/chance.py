"""Scores held against answers that do not depend on the text: whether a model has learned, or its classes are swapped.

Imports nothing of weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.evaluation.statistics.intervals import Interval

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


def class_shares(gold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class that stands in some text: the accuracy of always answering it.

    Args:
        gold: Index of the true class; shape [texts], at least one.
    """
    import numpy as np

    counts = np.bincount(gold)
    shares: NDArray[np.float64] = counts[counts > 0] / len(gold)
    return shares


def beats_guessing(accuracy: Interval, f1_macro: Interval, majority: float, classes: int) -> bool:
    """Whether a score's whole interval lies above what any guess reaches that does not depend on the text.

    The accuracy of such a guess is at most the majority's share. On skewed classes a model may have learned much and still be
    right less often than that, so macro F1 counts, too. A class of share p that is guessed for a share q of the texts has an
    F1 of about 2pq / (p + q), at most (p + q) / 2; over all classes these add up to 1, so the mean is at most 1 / classes.

    Args:
        accuracy: With its 95 % interval.
        f1_macro: With its 95 % interval.
        majority: Share of the most frequent class.
        classes: Over how many macro F1 averages.
    """
    return Guess(majority, 1 / classes).is_beaten(accuracy, f1_macro)


@dataclass(frozen=True)
class Guess:
    """What answers reach that do not depend on the text."""

    right: float
    """Share of the texts of which always giving the most frequent answer gets everything right."""
    f1_macro: float

    def is_beaten(self, right: Interval, f1_macro: Interval) -> bool:
        """Whether the whole 95 % interval of one of the scores lies above what a guess reaches."""
        return right.low > self.right or f1_macro.low > self.f1_macro


def guess_classes(gold: NDArray[np.int64], classes: int) -> Guess:
    """What a guess reaches of classes; see `beats_guessing`.

    Args:
        gold: Index of the true class; shape [texts], at least one.
        classes: Over how many macro F1 averages.
    """
    return Guess(float(class_shares(gold).max()), 1 / classes)


def guess_sets(gold: NDArray[np.bool_]) -> Guess:
    """What a guess reaches of label sets.

    A label of share p that is given to a share q of the texts, whatever they say, has an F1 of about 2pq / (p + q), which is
    highest where all texts are given it: 2p / (1 + p).

    Args:
        gold: Which text has which label; shape [texts, labels].
    """
    import numpy as np

    share = gold.mean(axis=0)
    most = np.unique(gold, axis=0, return_counts=True)[1].max()
    return Guess(float(most / len(gold)), float((2 * share / (1 + share)).mean()))


def area_of_chance(gold: NDArray[np.bool_]) -> float:
    """The macro AUROC that a model which tells nothing exceeds once in forty times at most.

    For each label half, and 1.96 standard errors of a rank sum (Mann and Whitney 1947); labels may err together, so their
    standard errors are averaged.

    Args:
        gold: Which text has which label; shape [texts, labels].
    """
    import numpy as np

    having = gold.sum(axis=0).astype(float)
    having = having[(having > 0) & (having < len(gold))]
    if not len(having):
        return 1.0
    return 0.5 + 1.96 * float(np.sqrt((len(gold) + 1) / (12 * having * (len(gold) - having))).mean())


def correlation_interval(spearman: float, examples: int) -> Interval:
    """Spearman's correlation with its 95 % interval: Fisher's z with the standard error of Bonett and Wright (2000).

    Of fewer than four examples nothing is known: -1 to 1.
    """
    from scipy.special import ndtri

    from pipeline.evaluation.statistics.intervals import LEVEL, Interval

    if examples < 4:
        return Interval(spearman, -1.0, 1.0)
    if abs(spearman) >= 1:
        return Interval(spearman, spearman, spearman)
    reach = float(ndtri((1 + LEVEL) / 2)) * math.sqrt((1 + spearman**2 / 2) / (examples - 3))
    center = math.atanh(spearman)
    return Interval(spearman, math.tanh(center - reach), math.tanh(center + reach))
