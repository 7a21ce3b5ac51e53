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

    Texts of one probability count as one step of the curve, as in scikit-learn; only steps that hold a text of the class add to
    an area. Arrays have a row for each of these and a column for each draw: numpy then adds and divides whole rows. All numbers
    but shares are whole, so their sums are exact.
    """
    import numpy as np

    weights, texts = draws.weights.T, len(draws.gold)
    if 2 * texts**2 >= _EXACT:
        weights = weights.astype(np.float64)
    total = weights.sum(axis=0, dtype=np.float64)
    shape = (len(total), draws.probabilities.shape[1])
    is_true = draws.gold if draws.gold.ndim == 2 else draws.gold[:, None] == np.arange(shape[1])
    area, precision, ranked, present = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    for label in range(shape[1]):
        order = np.argsort(-draws.probabilities[:, label], kind="stable")
        is_hit = is_true[order, label]
        starts = np.append(0, np.flatnonzero(np.diff(draws.probabilities[order, label])) + 1)
        stops = np.append(starts[1:], texts)
        counted = np.append(0, np.cumsum(is_hit))  # texts of the class among the first so many
        holds_hit = counted[stops] > counted[starts]
        starts, stops = starts[holds_hit], stops[holds_hit]
        of_first, of_hits = _running_sums(weights, order), _running_sums(weights, order[is_hit])
        said, hits, true = of_first[stops], of_hits[counted[stops]], of_hits[-1].astype(np.float64)
        new_hits, false = hits.copy(), total - true
        new_hits[1:] -= hits[:-1]
        present[:, label], ranked[:, label] = true > 0, (true > 0) & (false > 0)
        before = of_first[starts] + said + new_hits - 2 * hits  # misses, twice: of equal probability half come before
        lost = np.einsum("sd,sd->d", new_hits, before).astype(np.float64) / 2
        area[:, label] = (true * false - lost) / np.maximum(true * false, 1)
        shares = np.multiply(new_hits, hits, dtype=np.float64)
        shares /= np.maximum(said, 1, out=said)
        if shape[0] == 1:  # numpy adds up one column in pairs: zeros keep its order, and so the last digit of a score
            every_step = np.zeros((len(holds_hit), 1))
            every_step[holds_hit] = shares
            shares = every_step
        precision[:, label] = shares.sum(axis=0) / np.maximum(true, 1)
    return Areas(area, precision, present, ranked)


def _running_sums(weights: NDArray[Any], order: NDArray[Any]) -> NDArray[Any]:
    """Row n is the sum of the first n rows in that order, which are of whole numbers; shape [rows + 1, draws].

    `numpy.cumsum` goes down one column after the other, each sum waiting for the last. Here whole rows are added: within blocks
    of rows, then block to block.
    """
    import numpy as np

    rows = len(order) + 1
    sums = np.empty((rows, weights.shape[1]), weights.dtype)
    sums[0] = 0
    np.take(weights, order, axis=0, out=sums[1:], mode="clip")  # else it is copied twice
    size = math.isqrt(rows)
    whole = rows - rows % size
    blocks = sums[:whole].reshape(-1, size, weights.shape[1])
    for row in range(1, size):
        blocks[:, row] += blocks[:, row - 1]
    for block in range(1, len(blocks)):
        blocks[block] += blocks[block - 1, -1]
    for row in range(whole, rows):
        sums[row] += sums[row - 1]
    return sums


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
