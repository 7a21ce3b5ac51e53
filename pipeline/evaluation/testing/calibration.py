"""Whether a model is right as often as it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metrics.likelihood import NLL, surprise
from pipeline.evaluation.testing.predictions import Predictions
from pipeline.fonts import entitle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15
Bins = dict[str, NDArray[Any]]
"""What `reliability` returns. Of a thousand runs, arrays are made in a tenth of the time that tables take."""


def confidence_of(predictions: Predictions, classes: Sequence[str]) -> NDArray[np.float64]:
    """Probability of the predicted class; shape [texts]."""
    return _probability(predictions.scores, predictions.predicted, classes, "score_pred")


def calibration(gold: NDArray[np.int64], predictions: Predictions, classes: Sequence[str]) -> dict[str, float]:
    """`ece`, the expected calibration error, and the negative log-likelihood, of very many classes, too."""
    likelihood = _probability(predictions.scores, gold, classes, "score_gold")
    bins = reliability(predictions.predicted == gold, confidence_of(predictions, classes))
    return {"ece": calibration_error(bins), NLL.name: float(surprise(likelihood).mean())}


def calibration_error(bins: Bins) -> float:
    """Expected calibration error: how far accuracy and confidence of a bin of `reliability` are apart, by its share."""
    return float((bins["share"] * abs(bins["accuracy"] - bins["confidence"])).sum())


def reliability(right: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int = BINS) -> Bins:
    """Accuracy and mean confidence in bins of equal width, as of Guo et al. (2017, arXiv:1706.04599); empty bins are left out.

    A confidence on the edge of two bins belongs to the lower one.

    Args:
        right: Whether the predicted class is the true one; shape [texts].
        confidence: Probability of the predicted class; shape [texts].

    Returns:
        `low`, `high`, `texts`, `share`, `confidence`, `accuracy`; shape [bins] each.
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    texts = np.bincount(place, minlength=bins)
    used = np.flatnonzero(texts)
    return {
        "low": used / bins,
        "high": (used + 1) / bins,
        "texts": texts[used],
        "share": texts[used] / max(1, len(right)),
        "confidence": np.bincount(place, confidence, bins)[used] / texts[used],
        "accuracy": np.bincount(place, right, bins)[used] / texts[used],
    }


def draw_reliability(bins: Bins, ece: float, title: str, of_sets: bool = False) -> Figure:
    """Accuracy against confidence, a bar per bin, and how many texts are in each.

    Args:
        of_sets: Whether it is the share of texts that have a label against its probability, of all labels together.
    """
    from matplotlib.figure import Figure

    share, what, counted = ("share that is true", "label", "labels") if of_sets else ("accuracy", "predicted class", "texts")
    figure = Figure(figsize=(5.6, 6.4), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    width = bins["high"] - bins["low"]
    axes.bar(bins["low"], bins["accuracy"], width, align="edge", color="#3b6fb6", edgecolor="white", label=share)
    axes.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="right as often as it says")
    axes.plot(bins["confidence"], bins["accuracy"], "o", color="#c2773b", markersize=4, label="at the mean confidence")
    axes.set(ylabel=share, ylim=(0, 1), xlim=(0, 1))
    entitle(axes, title, f"expected calibration error {ece:.3f}", size=11)
    axes.legend(loc="upper left", fontsize=8)
    counts.bar(bins["low"], bins["texts"], width, align="edge", color="#8a8a8a", edgecolor="white")
    counts.set(xlabel=f"probability of the {what}", ylabel=counted)
    for panel in (axes, counts):
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _probability(
    scores: Mapping[str, NDArray[np.float64]], labels: NDArray[np.int64], classes: Sequence[str], of_many: str
) -> NDArray[np.float64]:
    """The probability of one class per text: that of `labels`, or the column `of_many` where not every class has one."""
    if list(scores) != [f"score_{name}" for name in classes]:
        return scores[of_many]
    probability: NDArray[np.float64] = np.stack(list(scores.values()), axis=1)[np.arange(len(labels)), labels]
    return probability
