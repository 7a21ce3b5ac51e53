"""Precision, recall and F1 of each class, averaged over all classes. A class that is never predicted has precision 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Counts, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _precision_from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    means: NDArray[Any] = (counts.right / np.maximum(1, counts.predicted)).mean(axis=-1)
    return means


def _recall_from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    means: NDArray[Any] = (counts.right / np.maximum(1, counts.true)).mean(axis=-1)
    return means


def _f1_from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    means: NDArray[Any] = (2 * counts.right / np.maximum(1, counts.predicted + counts.true)).mean(axis=-1)
    return means


PRECISION = Metric(
    name="precision_macro",
    label="precision",
    title="macro precision",
    hub_name="precision",
    of="class",
    from_counts=_precision_from_counts,
)
RECALL = Metric(
    name="recall_macro",
    label="recall",
    title="macro recall",
    hub_name="recall",
    of="class",
    from_counts=_recall_from_counts,
)
F1 = Metric(
    name="f1_macro",
    label="macro F1",
    short="F1",
    hub_name="f1",
    of="class",
    from_counts=_f1_from_counts,
    ranks=True,
    is_prominent=True,
)
