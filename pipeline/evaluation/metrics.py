"""Scores of predicted against true classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support


def score(gold: NDArray[np.int64], logits: NDArray[np.float32], classes: int) -> dict[str, float]:
    """Accuracy, macro precision, recall and F1, and the mean cross-entropy loss.

    Macro figures average over all `classes`; a class that is never predicted has precision 0.

    Args:
        gold: Index of the true class; shape [examples].
        logits: Unnormalised scores; shape [examples, classes].
    """
    predicted = logits.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, labels=np.arange(classes), average="macro", zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "precision_macro": float(precision),
        "recall_macro": float(recall),
        "f1_macro": float(f1),
        "loss": cross_entropy(gold, logits),
    }


def cross_entropy(gold: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    """Mean negative log-likelihood of the true classes."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted[np.arange(len(gold)), gold] - np.log(np.exp(shifted).sum(axis=1))
    return float(-log_likelihood.mean())


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities; shape [examples, classes]."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def report_by_class(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: list[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support of every class, by name."""
    # Not classification_report: a class may be called as one of its averages is, such as `accuracy`.
    columns = precision_recall_fscore_support(gold, predicted, labels=np.arange(len(classes)), zero_division=0)
    names = ("precision", "recall", "f1-score", "support")
    return {
        label: dict(zip(names, map(float, row), strict=True))
        for label, row in zip(classes, zip(*columns, strict=True), strict=True)
    }


def count_confusions(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Rows are true classes, columns predicted ones; shape [classes, classes]."""
    counts: NDArray[np.int64] = confusion_matrix(gold, predicted, labels=np.arange(classes))
    return counts
