"""How well the probability of a class sorts its texts before the others: areas under two curves, averaged over classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Draws, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT = 2**24
"""Up to which float32 holds every whole number."""


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

    Texts of one probability count as one step of the curve, as in scikit-learn. Arrays have a row for each text, or step, and a
    column for each draw: numpy then adds and divides whole rows. All numbers but shares are whole, so their sums are exact.
    """
    import numpy as np

    weights, texts = draws.weights.T, len(draws.gold)
    if texts**2 >= _EXACT:
        weights = weights.astype(np.float64)
    shape = (weights.shape[1], draws.probabilities.shape[1])
    is_true = draws.gold if draws.gold.ndim == 2 else draws.gold[:, None] == np.arange(shape[1])
    area, precision, ranked, present = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    for label in range(shape[1]):
        order = np.argsort(-draws.probabilities[:, label], kind="stable")
        said = weights[order]
        hits = np.where(is_true[order, label, None], said, 0)
        for counts in (said, hits):
            _add_up(counts)
        ends = np.append(np.flatnonzero(np.diff(draws.probabilities[order, label])), texts - 1)
        if len(ends) < texts:
            said, hits = said[ends], hits[ends]
        misses = said - hits
        new_hits = hits.copy()
        new_hits[1:] -= hits[:-1]
        true, false = hits[-1].astype(np.float64), misses[-1].astype(np.float64)
        present[:, label], ranked[:, label] = true > 0, (true > 0) & (false > 0)
        shares = np.multiply(new_hits, hits, dtype=np.float64)
        shares /= np.maximum(said, 1, out=said)
        precision[:, label] = shares.sum(axis=0) / np.maximum(true, 1)
        before = np.einsum("sd,sd->d", new_hits, misses) + np.einsum("sd,sd->d", new_hits[1:], misses[:-1])
        area[:, label] = (true * false - before / 2) / np.maximum(true * false, 1)  # of equal probability half come before
    return Areas(area, precision, present, ranked)


def _add_up(counts: NDArray[Any]) -> None:
    """Put into each row the sum of all rows down to it; whole numbers, so in any order.

    `numpy.cumsum` goes down one column after the other, each sum waiting for the last. Here whole rows are added: within blocks
    of rows, then block to block.
    """
    rows = len(counts)
    size = math.isqrt(rows)
    whole = rows - rows % size
    blocks = counts[:whole].reshape(-1, size, counts.shape[1])
    for row in range(1, size):
        blocks[:, row] += blocks[:, row - 1]
    for block in range(1, len(blocks)):
        blocks[block] += blocks[block - 1, -1]
    for row in range(whole, rows):
        counts[row] += counts[row - 1]


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
