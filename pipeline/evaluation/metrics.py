"""Scores of predictions, of classes and of numbers, under the names that stand on runs behind `val/` and `test/`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

CLASS_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
SCORE_METRICS = ("spearman", "pearson")

_AT_ONCE = 20_000_000  # scores turned into float64 at a time


def score(gold: NDArray[np.int64], logits: NDArray[np.float32], classes: int) -> dict[str, float]:
    """Accuracy, macro precision, recall and F1, and the mean cross-entropy loss.

    Macro figures average over all `classes`; a class that is never predicted has precision 0.

    Args:
        gold: Index of the true class; shape [examples].
        logits: Unnormalised scores; shape [examples, classes].
    """
    return {**score_predictions(gold, logits.argmax(axis=1), classes), "loss": cross_entropy(gold, logits)}


def score_predictions(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> dict[str, float]:
    """The same without the loss, of predicted classes; shape [examples] both."""
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, labels=np.arange(classes), average="macro", zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "precision_macro": float(precision),
        "recall_macro": float(recall),
        "f1_macro": float(f1),
    }


def cross_entropy(gold: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    """Mean negative log-likelihood of the true classes."""
    step = max(1, _AT_ONCE // logits.shape[1])
    log_likelihood = np.empty(len(gold))
    for start in range(0, len(gold), step):
        rows, true = logits[start : start + step], gold[start : start + step]
        shifted = rows.astype(np.float64) - rows.max(axis=1, keepdims=True)
        log_likelihood[start : start + step] = shifted[np.arange(len(true)), true] - np.log(np.exp(shifted).sum(axis=1))
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


def count_confusions(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often a true class was predicted as another, or as itself, of the classes asked for.

    Returns:
        Rows are true classes, columns predicted ones; shape [classes, classes].
    """
    size = int(max(gold.max(initial=0), predicted.max(initial=0), classes.max(initial=0))) + 1
    place = np.full(size, -1)
    place[classes] = np.arange(len(classes))
    rows, columns = place[gold], place[predicted]
    both = (rows >= 0) & (columns >= 0)
    counts: NDArray[np.int64] = np.bincount(rows[both] * len(classes) + columns[both], minlength=len(classes) ** 2)
    return counts.reshape(len(classes), len(classes))


Scores = NDArray[np.float32] | NDArray[np.float64]


def correlate(gold: Scores, predicted: Scores) -> dict[str, float]:
    """Pearson's correlation, and Spearman's, which looks at ranks alone (ties get their mean rank).

    Where all true or all predicted scores are the same neither is defined; both are then 0, as of a model that tells nothing.

    Args:
        gold: Shape [examples].
        predicted: Shape [examples].
    """
    from scipy.stats import pearsonr, spearmanr

    gold, predicted = gold.astype(np.float64), predicted.astype(np.float64)
    if len(gold) < 2 or np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(pearsonr(gold, predicted).statistic),
        "spearman": float(spearmanr(gold, predicted).statistic),
    }


def mean_squared_error(gold: Scores, predicted: Scores) -> float:
    """Mean of the squared differences."""
    return float(np.mean((gold.astype(np.float64) - predicted.astype(np.float64)) ** 2))


def choose_threshold(gold: NDArray[np.int64], scores: Scores) -> float:
    """The score from which on to predict class 1, so that most examples are classified rightly.

    Half-way between two neighbouring scores; of several that are equally good the lowest. Never predicting class 1, or
    always, are among the choices.

    Args:
        gold: 0 or 1; shape [examples].
        scores: Shape [examples].
    """
    order = np.argsort(scores, kind="stable")
    ordered, ones = scores[order].astype(np.float64), gold[order]
    # Cut before example i: all before it are called 0, the others 1.
    right = np.concatenate([[0], np.cumsum(1 - ones)]) + np.concatenate([np.cumsum(ones[::-1])[::-1], [0]])
    possible = np.concatenate([[True], np.diff(ordered) > 0, [True]])
    cut = int(np.argmax(np.where(possible, right, -1)))
    if cut == 0:
        return float(ordered[0])
    if cut == len(ordered):
        return float(np.nextafter(np.float32(ordered[-1]), np.float32(np.inf)))
    return float((ordered[cut - 1] + ordered[cut]) / 2)
