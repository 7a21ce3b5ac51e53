"""Metrics of texts with any number of labels. A label that is neither true nor predicted of any text counts 0 in macro F1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metric import Answers, Counts, Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def _f1(answers: Answers, average: str, zero_division: float = 0.0) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(answers.gold, answers.predicted, average=average, zero_division=zero_division))


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


def _over_labels(answers: Answers, score: Callable[[Any, Any], float], otherwise: float) -> float:
    """The mean over the labels that some texts have and others have not; `otherwise` without one."""
    import numpy as np

    assert answers.probabilities is not None
    gold, probabilities = answers.gold.astype(bool), answers.probabilities()
    told = np.flatnonzero(gold.any(axis=0) & ~gold.all(axis=0)).tolist()
    return float(np.mean([score(gold[:, label], probabilities[:, label]) for label in told])) if told else otherwise


def _average_precision(answers: Answers) -> float:
    from sklearn.metrics import average_precision_score

    return _over_labels(answers, average_precision_score, 0.0)


def _auroc(answers: Answers) -> float:
    from sklearn.metrics import roc_auc_score

    return _over_labels(answers, roc_auc_score, 0.5)


F1_MACRO = Metric(
    name="f1_macro",
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
    compute=lambda answers: _f1(answers, "samples", 1.0),
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
    compute=_average_precision,
    uses_probabilities=True,
)
"""The area below precision over recall, averaged over labels: no threshold plays a part."""
AUROC = Metric(
    name="auroc",
    label="AUROC",
    of="multi",
    compute=_auroc,
    uses_probabilities=True,
)
"""Averaged over labels: how often a text that has it gets a higher probability than one that has not."""
