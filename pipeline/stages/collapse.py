"""What `train` says of a classifier that learned nothing, or lost what it had learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config import FitConfig
from pipeline.data.token_losses import MOSTLY_UNKNOWN, UNKNOWN, TokenLosses, explain_unknown
from pipeline.evaluation.chance import beats_guessing
from pipeline.evaluation.uncertainty import Interval, wilson_interval
from pipeline.options import flag

Scores = Mapping[str, float]
"""Validation metrics by their bare names."""


def has_learned(found: Scores, class_counts: Sequence[int]) -> bool:
    """Whether validation scores are shown to be above what a guess reaches that does not read the text.

    The interval of macro F1 is taken to be as wide as that of accuracy, Wilson's.

    Args:
        class_counts: Validation examples of each class.
    """
    texts = sum(class_counts)
    accuracy = wilson_interval(round(found["accuracy"] * texts), texts)
    f1_macro = Interval(
        found["f1_macro"], found["f1_macro"] + accuracy.low - accuracy.value, found["f1_macro"] + accuracy.high - accuracy.value
    )
    return beats_guessing(accuracy, f1_macro, max(class_counts) / texts, len(class_counts))


def describe_collapse(
    best: Scores, last: Scores, class_counts: Sequence[int], config: FitConfig, tokens: TokenLosses | None = None
) -> str:
    """That a training did not learn, or lost what it had learned, and what to try; empty where it learned.

    Args:
        best: Validation metrics of the checkpoint that was kept.
        last: Those of the end of training.
        class_counts: Validation examples of each class; none where labels are scores.
        tokens: What is lost of the training texts: where next to nothing is left, that is the cause, and not the rate.
    """
    if len(class_counts) < 2 or (has_learned(best, class_counts) and has_learned(last, class_counts)):
        return ""
    rate, warmup, epochs = (flag(name) for name in ("learning_rate", "warmup_ratio", "epochs"))
    unknown = 0.0 if tokens is None else tokens.metrics()[UNKNOWN]
    slower = f"Lower {rate} ({config.learning_rate:g}) or raise {warmup} ({config.warmup_ratio:g})"
    if has_learned(best, class_counts):
        return (
            f"training collapsed: accuracy was {last['accuracy']:.4f} at its end, no better than a guess; the checkpoint with "
            f"{best['accuracy']:.4f} was kept. {slower}."
        )
    texts = sum(class_counts)
    interval = wilson_interval(round(best["accuracy"] * texts), texts)
    way_out = f"{slower}; if the training loss still fell at the end, raise {rate} or {epochs} ({config.epochs})."
    if unknown >= MOSTLY_UNKNOWN:
        way_out = f"The cause: {explain_unknown(unknown, config.model)}"
    return (
        f"it did not learn: the 95 % interval of its accuracy, {interval.low:.3f} to {interval.high:.3f}, is not above the "
        f"{max(class_counts) / texts:.3f} of always answering the most frequent class. {way_out}"
    )
