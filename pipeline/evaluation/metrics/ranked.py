"""How well the probability of a class sorts its texts before the others: areas under two curves, averaged over classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Draws, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Areas:
    """Under the curves of each draw and class; shape [draws, classes] each."""

    roc: NDArray[Any]
    """Under the ROC curve; where `told`."""
    precision: NDArray[Any]
    """Average precision; where `present`."""
    present: NDArray[Any]
    """Whether the draw has a text of the class."""
    told: NDArray[Any]
    """Whether it has one of the class and one of another."""

    def mean_roc(self) -> NDArray[Any]:
        """Over the classes that count; 0.5, which guessing reaches, without one. Shape [draws]."""
        import numpy as np

        count = self.told.sum(axis=1)
        means: NDArray[Any] = np.where(count > 0, (self.roc * self.told).sum(axis=1) / np.maximum(count, 1), 0.5)
        return means

    def mean_precision(self, over: NDArray[Any]) -> NDArray[Any]:
        """Over the classes that count; 0 without one. Shape [draws].

        Args:
            over: Which of them do; shape [draws, classes].
        """
        import numpy as np

        means: NDArray[Any] = (self.precision * over).sum(axis=1) / np.maximum(over.sum(axis=1), 1)
        return means


def areas(draws: Draws) -> Areas:
    """What each class, or label, has against the rest.

    Texts of one probability count as one step of the curve, as in scikit-learn.
    """
    import numpy as np

    shape = (len(draws.weights), draws.probabilities.shape[1])
    is_true = draws.gold if draws.gold.ndim == 2 else draws.gold[:, None] == np.arange(shape[1])
    area, precision, ranked, present = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    for label in range(shape[1]):
        order = np.argsort(-draws.probabilities[:, label], kind="stable")
        ends = np.append(np.flatnonzero(np.diff(draws.probabilities[order, label])), len(order) - 1)
        sorted_weights = draws.weights[:, order]
        said = np.cumsum(sorted_weights, axis=1, dtype=np.float64)[:, ends]
        hits = np.cumsum(sorted_weights * is_true[order, label], axis=1, dtype=np.float64)[:, ends]
        true, false = hits[:, -1], said[:, -1] - hits[:, -1]
        new_hits, new_misses = np.diff(hits, axis=1, prepend=0), np.diff(said - hits, axis=1, prepend=0)
        present[:, label], ranked[:, label] = true > 0, (true > 0) & (false > 0)
        precision[:, label] = (new_hits * hits / np.maximum(said, 1)).sum(axis=1) / np.maximum(true, 1)
        area[:, label] = (new_misses * (hits - new_hits / 2)).sum(axis=1) / np.maximum(true * false, 1)
    return Areas(area, precision, present, ranked)


def _average_precision(draws: Draws) -> NDArray[Any]:
    found = draws.share(areas)
    return found.mean_precision(found.present)


AUROC = Metric(
    name="auroc",
    label="AUROC",
    title="area under the ROC curve",
    of="class",
    from_draws=lambda draws: draws.share(areas).mean_roc(),
    uses_probabilities=True,
    is_for_rare_classes=True,
)
"""Of a text of the class and one of another, how often the first has the higher probability (Fawcett 2006)."""
AVERAGE_PRECISION = Metric(
    name="average_precision",
    label="average precision",
    of="class",
    from_draws=_average_precision,
    uses_probabilities=True,
    is_for_rare_classes=True,
)
"""Precision averaged over the texts of the class, in order of falling probability. Of two classes the mean over both, too."""
