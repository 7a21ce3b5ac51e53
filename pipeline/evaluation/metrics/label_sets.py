"""Metrics of texts with any number of labels. A label that is neither true nor predicted of any text counts 0 in macro F1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Answers, Counts, Draws, Metric
from pipeline.evaluation.metrics.ranked import areas

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _f1(answers: Answers, average: str) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(answers.gold, answers.predicted, average=average, zero_division=0.0))


def _macro_f1_from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    means: NDArray[Any] = (2 * counts.right / np.maximum(1, counts.predicted + counts.true)).mean(axis=-1)
    return means


def _micro_f1_from_counts(counts: Counts) -> NDArray[Any]:
    import numpy as np

    right, said = counts.right.sum(axis=-1), (counts.predicted + counts.true).sum(axis=-1)
    shares: NDArray[Any] = 2 * right / np.maximum(1, said)
    return shares


def _hamming_from_counts(counts: Counts) -> NDArray[Any]:
    wrong = (counts.predicted + counts.true - 2 * counts.right).sum(axis=-1)
    shares: NDArray[Any] = wrong / (counts.texts * counts.true.shape[-1])
    return shares


def _exact_from_counts(counts: Counts) -> NDArray[Any]:
    assert counts.exact is not None
    shares: NDArray[Any] = counts.exact / counts.texts
    return shares


def _f1_of_texts(answers: Answers) -> NDArray[Any]:
    import numpy as np

    gold, predicted = answers.gold.astype(bool), answers.predicted.astype(bool)
    said = (gold.sum(axis=1) + predicted.sum(axis=1)).astype(np.float64)
    scores: NDArray[Any] = np.divide(2 * (gold & predicted).sum(axis=1), said, out=np.ones(len(gold)), where=said > 0)
    return scores


def _average_precision(draws: Draws) -> NDArray[Any]:
    found = draws.share(areas)
    return found.mean_precision(found.told)


F1_MACRO = Metric(
    name="f1_macro",
    hub_name="f1",
    label="macro F1",
    short="F1",
    of="multi",
    compute=lambda answers: _f1(answers, "macro"),
    from_counts=_macro_f1_from_counts,
    ranks=True,
    selects=True,
    is_prominent=True,
)
"""Of each label, averaged over all."""
F1_MICRO = Metric(
    name="f1_micro",
    label="micro F1",
    of="multi",
    compute=lambda answers: _f1(answers, "micro"),
    from_counts=_micro_f1_from_counts,
    is_prominent=True,
)
"""Of all labels of all texts together."""
F1_SAMPLES = Metric(
    name="f1_samples",
    label="samples F1",
    of="multi",
    of_texts=_f1_of_texts,
)
"""Of each text, averaged over texts. A text without labels that is given none counts 1."""
SUBSET_ACCURACY = Metric(
    name="subset_accuracy",
    label="subset accuracy",
    of="multi",
    compute=lambda answers: float((answers.gold.astype(bool) == answers.predicted.astype(bool)).all(axis=1).mean()),
    from_counts=_exact_from_counts,
)
"""Share of the texts of which every label is right."""
HAMMING_LOSS = Metric(
    name="hamming_loss",
    label="Hamming loss",
    of="multi",
    compute=lambda answers: float((answers.gold.astype(bool) != answers.predicted.astype(bool)).mean()),
    from_counts=_hamming_from_counts,
    greater_is_better=False,
)
"""Share of all labels of all texts that are wrong."""
AVERAGE_PRECISION = Metric(
    name="average_precision",
    label="average precision",
    of="multi",
    from_draws=_average_precision,
    uses_probabilities=True,
)
"""The area below precision over recall, averaged over the labels that some texts have and others have not."""
AUROC = Metric(
    name="auroc",
    label="AUROC",
    of="multi",
    from_draws=lambda draws: draws.share(areas).mean_roc(),
    uses_probabilities=True,
)
"""Averaged over the same labels: how often a text that has it gets a higher probability than one that has not."""
