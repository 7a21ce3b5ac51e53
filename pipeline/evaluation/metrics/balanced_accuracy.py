"""Balanced accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Answers, Counts, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _balanced_accuracy(answers: Answers) -> float:
    import numpy as np
    from sklearn.metrics import recall_score

    return float(
        recall_score(answers.gold, answers.predicted, labels=np.unique(answers.gold), average="macro", zero_division=0)
    )


def _from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    there = counts.true > 0
    means: NDArray[Any] = (counts.right / np.maximum(1, counts.true)).sum(axis=-1) / there.sum(axis=-1)
    return means


BALANCED_ACCURACY = Metric(
    name="balanced_accuracy",
    label="balanced accuracy",
    of="class",
    compute=_balanced_accuracy,
    from_counts=_from_counts,
    is_for_rare_classes=True,
)
"""Recall averaged over the classes that occur (Brodersen et al. 2010), as in scikit-learn; macro recall counts others as 0."""
