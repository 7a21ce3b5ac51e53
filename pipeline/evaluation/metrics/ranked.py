"""How well the probability of a class sorts its texts before the others: areas under two curves, averaged over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Draws, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _areas(draws: Draws) -> tuple[NDArray[Any], NDArray[Any]]:
    """Area under the ROC curve and average precision of every draw, one class against the rest; shape [draws] each.

    Texts of one probability count as one step of the curve, as in scikit-learn. A class that a draw has no text of, or no
    other, counts in neither mean. Without a class that counts, the area is 0.5, which guessing reaches.
    """
    import numpy as np

    shape = (len(draws.weights), draws.probabilities.shape[1])
    area, precision, ranked, present = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    for label in range(shape[1]):
        order = np.argsort(-draws.probabilities[:, label], kind="stable")
        ends = np.append(np.flatnonzero(np.diff(draws.probabilities[order, label])), len(order) - 1)
        sorted_weights = draws.weights[:, order]
        said = np.cumsum(sorted_weights, axis=1, dtype=np.float64)[:, ends]
        hits = np.cumsum(sorted_weights * (draws.gold[order] == label), axis=1, dtype=np.float64)[:, ends]
        true, false = hits[:, -1], said[:, -1] - hits[:, -1]
        new_hits, new_misses = np.diff(hits, axis=1, prepend=0), np.diff(said - hits, axis=1, prepend=0)
        present[:, label], ranked[:, label] = true > 0, (true > 0) & (false > 0)
        precision[:, label] = (new_hits * hits / np.maximum(said, 1)).sum(axis=1) / np.maximum(true, 1)
        area[:, label] = (new_misses * (hits - new_hits / 2)).sum(axis=1) / np.maximum(true * false, 1)
    count = ranked.sum(axis=1)
    areas = np.where(count > 0, (area * ranked).sum(axis=1) / np.maximum(count, 1), 0.5)
    return areas, precision.sum(axis=1) / np.maximum(present.sum(axis=1), 1)


AUROC = Metric(
    name="auroc",
    label="AUROC",
    title="area under the ROC curve",
    of="class",
    from_draws=lambda draws: draws.share(_areas)[0],
    uses_probabilities=True,
    is_for_rare_classes=True,
)
"""Of a text of the class and one of another, how often the first has the higher probability (Fawcett 2006)."""
AVERAGE_PRECISION = Metric(
    name="average_precision",
    label="average precision",
    of="class",
    from_draws=lambda draws: draws.share(_areas)[1],
    uses_probabilities=True,
    is_for_rare_classes=True,
)
"""Precision averaged over the texts of the class, in order of falling probability. Of two classes the mean over both, too."""
