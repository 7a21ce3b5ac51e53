"""The table of one model's predictions, a row per text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.columns import Input
from pipeline.evaluation.metric import Answers, measure

SCORED_CLASSES = 100
"""Up to so many classes each has a column of scores; of more, only the true and the predicted one have."""

Decide = Callable[[NDArray[np.float64]], NDArray[np.int64]]
"""Probabilities, shape [texts, classes] -> index of the class that is predicted; shape [texts]."""

_AT_ONCE = 20_000_000  # scores held in memory, 160 MB of float64


@dataclass(frozen=True)
class Predictions:
    """What a model says of texts."""

    predicted: NDArray[np.int64]
    """Index of the predicted class; shape [texts]."""
    scores: dict[str, NDArray[np.float64]]
    """Column -> probabilities; shape [texts] each. `score_CLASS` of every class, or `score_gold` and `score_pred`."""

    def beside(self, gold: NDArray[np.int64], classes: Sequence[str]) -> Answers:
        """Beside what is true, for metrics; without probabilities where not every class has one."""
        whole = list(self.scores) == [f"score_{name}" for name in classes]
        probabilities = (lambda: np.stack(list(self.scores.values()), axis=1)) if whole else None
        return Answers(gold, self.predicted, len(classes), probabilities)


def predict(
    probabilities: Callable[[Sequence[Input]], NDArray[np.float64]],
    texts: Sequence[Input],
    gold: NDArray[np.int64],
    classes: Sequence[str],
    decide: Decide = lambda probabilities: probabilities.argmax(axis=1),
) -> Predictions:
    """Predict texts or pairs, as many at a time as there is room for: of 10,000 classes and texts all scores take 800 MB.

    Args:
        probabilities: Of each text the probability of every class; shape [texts, classes].
        gold: Index of the true class; shape [texts].
        decide: The class by those probabilities.
    """
    step = max(1, _AT_ONCE // len(classes))
    predicted, kept = [], []
    for start in range(0, len(texts), step):
        block = probabilities(texts[start : start + step])
        best = decide(block)
        predicted.append(best)
        if len(classes) > SCORED_CLASSES:
            rows = np.arange(len(block))
            block = np.stack([block[rows, gold[start : start + step]], block[rows, best]], axis=1)
        kept.append(block)
    scores = np.concatenate(kept)
    names = ("gold", "pred") if len(classes) > SCORED_CLASSES else classes
    return Predictions(np.concatenate(predicted), {f"score_{name}": scores[:, index] for index, name in enumerate(names)})


def tabulate(
    texts: Sequence[str] | Mapping[str, Sequence[str]],
    gold: NDArray[np.int64],
    predictions: Predictions,
    classes: Sequence[str],
) -> pd.DataFrame:
    """The texts, `gold` and `pred`, then the scores, rounded to six places.

    Args:
        texts: By column; `sentence` if they are of one.
    """
    columns = texts if isinstance(texts, Mapping) else {"sentence": texts}
    names = np.array(classes, object)
    scores = {name: values.round(6) for name, values in predictions.scores.items()}
    return pd.DataFrame({**columns, "gold": names[gold], "pred": names[predictions.predicted], **scores})


_PARTS = 4


def score_by_length(texts: Sequence[str], gold: NDArray[Any], predicted: NDArray[Any], classes: int) -> pd.DataFrame:
    """Scores of each quarter of the texts by number of words (runs of characters without a space).

    Texts of equal length are never in different quarters, so of many equal ones there are fewer and unequal parts.

    Returns:
        Columns `min_words`, `max_words`, `texts`, then the metrics that need no probabilities.
    """
    words = np.array([len(text.split()) for text in texts], np.int64)
    edges = np.unique(np.quantile(words, np.arange(1, _PARTS) / _PARTS, method="lower")) if len(words) else words
    part = np.searchsorted(edges, words, side="left")
    rows = []
    for number in np.unique(part):
        chosen = part == number
        rows.append(
            {
                "min_words": int(words[chosen].min()),
                "max_words": int(words[chosen].max()),
                "texts": int(chosen.sum()),
                **measure(Answers(gold[chosen], predicted[chosen], classes)),
            }
        )
    return pd.DataFrame(rows)


def report_by_class(gold: NDArray[Any], predicted: NDArray[Any], classes: list[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support of every class, by name; or of every label, of which matrices say which text has it."""
    # Not classification_report: a class may be called as one of its averages is, such as `accuracy`.
    from sklearn.metrics import precision_recall_fscore_support

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
