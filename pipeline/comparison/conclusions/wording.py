"""How a comparison names what it says of classes, and of sets of labels."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.metric import LabelType, Metric
from pipeline.evaluation.metrics.accuracy import ACCURACY
from pipeline.evaluation.metrics.label_sets import SUBSET_ACCURACY

MCNEMAR, SIGN_TEST = "McNemar", "sign test"


@dataclass(frozen=True)
class Wording:
    """Names of what is tested, and by which test."""

    right: Metric
    """The share of texts of which everything is right."""
    most_frequent: str
    """What a guess that does not read the text answers."""
    pair_test: str
    """The exact test beside the bootstrap, as it is called in `decided_by`."""
    of_pairs: str
    """The same in a sentence."""
    p_column: str
    """Its column in `comparisons.csv`."""
    constant: str
    """What a model answers that gives every text the same."""


_CLASSES = Wording(
    ACCURACY,
    "always answering the most frequent class",
    MCNEMAR,
    "McNemar's exact test of accuracy",
    "p_mcnemar",
    "one class",
)
_SETS = Wording(
    SUBSET_ACCURACY,
    "always giving the most frequent set of labels",
    SIGN_TEST,
    "the exact sign test of texts by their number of wrong labels",
    "p_sign_test",
    "the same labels",
)


def wording(label_type: LabelType) -> Wording:
    """The words for results of a label type."""
    return _SETS if label_type == "multi" else _CLASSES
