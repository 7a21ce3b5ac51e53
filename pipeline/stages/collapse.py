"""What `train` says of a classifier that learned nothing, or lost what it had learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import FitConfig
from pipeline.evaluation.uncertainty import wilson_interval
from pipeline.options import flag

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scores = Mapping[str, float]
"""Validation metrics by their bare names."""


def count_classes(labels: NDArray[Any], classes: Sequence[str]) -> list[int]:
    """How many of the labels, indices of classes, are of each class; empty where labels are scores."""
    import numpy as np

    counts: list[int] = np.bincount(labels.astype(np.int64), minlength=len(classes)).tolist() if classes else []
    return counts


def has_learned(found: Scores, class_counts: Sequence[int]) -> bool:
    """Whether validation scores are shown to be above what a guess reaches that does not read the text.

    The accuracy of such a guess is at most the share of the most frequent class, its macro F1 at most one over the number of
    classes. Where classes are skewed, macro F1 may show what accuracy does not; its interval is taken to be as wide.

    Args:
        class_counts: Validation examples of each class.
    """
    texts = sum(class_counts)
    accuracy = wilson_interval(round(found["accuracy"] * texts), texts)
    margin = accuracy.value - accuracy.low
    return accuracy.low > max(class_counts) / texts or found["f1_macro"] - margin > 1 / len(class_counts)


def describe_collapse(best: Scores, last: Scores, class_counts: Sequence[int], config: FitConfig) -> str:
    """That a training did not learn, or lost what it had learned, and what to try; empty where it learned.

    Args:
        best: Validation metrics of the checkpoint that was kept.
        last: Those of the end of training.
        class_counts: Validation examples of each class; none where labels are scores.
    """
    if len(class_counts) < 2 or (has_learned(best, class_counts) and has_learned(last, class_counts)):
        return ""
    rate, warmup, epochs = (flag(name) for name in ("learning_rate", "warmup_ratio", "epochs"))
    slower = f"Lower {rate} ({config.learning_rate:g}) or raise {warmup} ({config.warmup_ratio:g})"
    if has_learned(best, class_counts):
        return (
            f"training collapsed: accuracy was {last['accuracy']:.4f} at its end, no better than a guess; the checkpoint with "
            f"{best['accuracy']:.4f} was kept. {slower}."
        )
    texts = sum(class_counts)
    interval = wilson_interval(round(best["accuracy"] * texts), texts)
    return (
        f"it did not learn: the 95 % interval of its accuracy, {interval.low:.3f} to {interval.high:.3f}, is not above the "
        f"{max(class_counts) / texts:.3f} of always answering the most frequent class. {slower}; if the training loss still "
        f"fell at the end, raise {rate} or {epochs} ({config.epochs})."
    )
