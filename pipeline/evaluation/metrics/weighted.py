"""F1 of each class, averaged by how often the class occurs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Counts, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    each = 2 * counts.right / np.maximum(1, counts.predicted + counts.true)
    means: NDArray[Any] = (counts.true * each).sum(axis=-1) / counts.texts
    return means


F1_WEIGHTED = Metric(
    name="f1_weighted",
    label="weighted F1",
    of="class",
    from_counts=_from_counts,
    is_for_rare_classes=True,
)
