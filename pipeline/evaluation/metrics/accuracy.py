"""Accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Counts, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _from_counts(counts: Counts) -> NDArray[Any]:
    shares: NDArray[Any] = counts.right.sum(axis=-1) / counts.texts
    return shares


ACCURACY = Metric(
    name="accuracy",
    label="accuracy",
    of="class",
    from_counts=_from_counts,
    selects=True,
    is_prominent=True,
)
"""Share of the examples that are predicted rightly."""
