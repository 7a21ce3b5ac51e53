"""Balanced accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Counts, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    there = counts.true > 0
    means: NDArray[Any] = (counts.right / np.maximum(1, counts.true)).sum(axis=-1) / there.sum(axis=-1)
    return means


BALANCED_ACCURACY = Metric(
    name="balanced_accuracy",
    label="balanced accuracy",
    of="class",
    from_counts=_from_counts,
    is_for_rare_classes=True,
)
"""Recall averaged over the classes that occur (Brodersen et al. 2010), as in scikit-learn; macro recall counts others as 0."""
