"""Matthews correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Counts, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    right, texts = counts.right.sum(axis=-1), counts.texts
    above = right * texts - (counts.predicted * counts.true).sum(axis=-1)
    below = np.sqrt((texts**2 - (counts.predicted**2).sum(axis=-1)) * (texts**2 - (counts.true**2).sum(axis=-1)))
    correlations: NDArray[Any] = np.divide(above, below, out=np.zeros(np.shape(below)), where=below > 0)
    return correlations


MCC = Metric(
    name="mcc",
    label="MCC",
    title="Matthews correlation",
    hub_name="matthews_correlation",
    of="class",
    from_counts=_from_counts,
    lowest=-1.0,
    is_for_rare_classes=True,
)
"""Of predicted with true classes (Matthews 1975; Gorodkin 2004 of many classes); 0 where all answers, or all texts, are one."""
