"""Negative log-likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Answers, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def surprise(probability: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """-log p of each text's true class; finite where p is 0. Shape [texts]."""
    import numpy as np

    each: NDArray[np.floating[Any]] = -np.log(np.maximum(probability, np.finfo(float).tiny))
    return each


def _of_texts(answers: Answers) -> NDArray[Any]:
    import numpy as np

    assert answers.probabilities is not None
    return surprise(answers.probabilities()[np.arange(len(answers.gold)), answers.gold])


NLL = Metric(
    name="nll",
    label="NLL",
    title="negative log-likelihood",
    of="class",
    of_texts=_of_texts,
    greater_is_better=False,
    highest=float("inf"),
    uses_probabilities=True,
    is_for_rare_classes=True,
)
"""Mean of -log p of the true class: the cross-entropy, whatever loss was trained by."""
