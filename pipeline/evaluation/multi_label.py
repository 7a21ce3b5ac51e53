"""What outputs mean where a text has any number of labels: each label has a probability and a threshold of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.csv_text import write_csv
from pipeline.data.columns import Input
from pipeline.data.label_sets.matrix import as_matrix
from pipeline.data.tokenization import Labels
from pipeline.evaluation.metric import CHOSEN, LOSS, Answers, LabelType, measure
from pipeline.evaluation.metrics.label_sets import F1_MACRO
from pipeline.evaluation.metrics.likelihood import NLL
from pipeline.evaluation.plots import draw_label_scores
from pipeline.evaluation.task import Answer, EvaluationReport, Outputs, Task, as_one_text, caption, columns_of
from pipeline.evaluation.testing.calibration import calibration_error, draw_reliability, reliability
from pipeline.evaluation.testing.predictions import report_by_class, score_by_length

if TYPE_CHECKING:
    Flags = NDArray[np.bool_]

HALF = 0.5
"""The threshold of every label while a model trains, and of a model from elsewhere."""
AT_HALF, AT_THRESHOLDS = f"{F1_MACRO.name}_at_half", f"{F1_MACRO.name}_at_thresholds"
"""Macro F1 of a test with 0.5 as every threshold; and of validation with the thresholds that were chosen there."""


@dataclass(frozen=True)
class MultiLabelTask(Task):
    """One logit per label; it is given where its probability reaches the label's threshold.

    The loss is the binary cross-entropy, the mean over labels and examples.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    """Of each label, chosen on validation data; `HALF` for all until they are."""
    loss: ClassVar[str] = "binary_cross_entropy"
    label_type: ClassVar[LabelType] = "multi"
    gives_probabilities: ClassVar[bool] = True

    @property
    def why_no_threshold(self) -> str:
        """Each label has one."""
        return "each label has a threshold of its own, chosen on validation data"

    def targets(self, labels: NDArray[Any]) -> Labels:
        """0 or 1 for each label; shape [examples, labels]."""
        return as_matrix(labels, len(self.classes)).astype(np.float32)

    def score(self, gold: Labels, outputs: Outputs) -> dict[str, float]:
        """The metrics at 0.5, the loss, the threshold of each label that suits these examples, and macro F1 with them."""
        true, probabilities = gold.astype(bool), sigmoid(outputs)
        thresholds = [choose_label_threshold(*columns) for columns in zip(true.T, probabilities.T, strict=True)]
        chosen = measure(Answers(true, probabilities >= thresholds, len(self.classes)))[F1_MACRO.name]
        return {
            **measure(Answers(true, probabilities >= HALF, len(self.classes), lambda: probabilities)),
            AT_THRESHOLDS: chosen,
            LOSS: binary_cross_entropy(true, outputs),
            **{_name(number): threshold for number, threshold in enumerate(thresholds)},
        }

    def settled(self, validation: dict[str, float]) -> MultiLabelTask:
        """With the thresholds of the checkpoint that was kept."""
        return replace(self, thresholds=tuple(validation[_name(number)] for number in range(len(self.classes))))

    def describe_choice(self, validation: dict[str, float]) -> str:
        """The thresholds of the checkpoint that was kept, as CSV."""
        thresholds = self.settled(validation).thresholds
        return write_csv(pd.DataFrame({"label": self.classes, "threshold": thresholds}))

    @property
    def why_no_min_score(self) -> str:
        """Each label has a probability."""
        return ""

    def answer(self, outputs: Outputs, min_score: float = 0.0) -> pd.DataFrame:
        """The labels that are given, and the probability of every label."""
        probabilities = sigmoid(outputs)
        frame = pd.DataFrame(probabilities, columns=[f"score_{name}" for name in self.classes])
        frame.insert(0, "label", name_sets(probabilities >= np.maximum(self._thresholds(), min_score), self.classes))
        return frame

    def test(
        self, inputs: Sequence[Input], labels: NDArray[Any], answer: Answer, classes: list[str], title: str
    ) -> EvaluationReport:
        """Scores at the thresholds and at 0.5, calibration, predictions with probabilities, scores by label and by length."""
        order = [self.classes.index(name) for name in classes]
        gold, probabilities = as_matrix(labels, len(classes)), sigmoid(answer(inputs))[:, order]
        thresholds = self._thresholds()[order]
        predicted = probabilities >= thresholds
        by_label = pd.DataFrame(report_by_class(gold, predicted, classes)).T
        at_half = pd.DataFrame(report_by_class(gold, probabilities >= HALF, classes)).T["f1-score"]
        by_label = by_label.assign(threshold=thresholds, **{"f1-score at 0.5": at_half})
        by_length = score_by_length([as_one_text(given) for given in inputs], gold, predicted, len(classes))
        bins = reliability(gold.ravel(), probabilities.ravel())
        ece, heading = calibration_error(bins), caption(title, inputs)
        table = {
            **columns_of(inputs),
            "gold": write_sets(gold, classes),
            "pred": write_sets(predicted, classes),
            **{f"score_{name}": column.round(6) for name, column in zip(classes, probabilities.T, strict=True)},
        }
        return EvaluationReport(
            measure(Answers(gold, predicted, len(classes), lambda: probabilities)),
            {
                "predictions.csv": write_csv(pd.DataFrame(table)),
                "per_class.csv": write_csv(by_label.reset_index(names="class")),
                "per_length.csv": by_length.to_csv(index=False),
            },
            {
                "labels.png": draw_label_scores(by_label["f1-score"], at_half, by_label["support"], heading),
                "reliability.png": draw_reliability(bins, ece, heading, of_sets=True),
            },
            {"ece": ece, NLL.name: _likelihood_loss(gold, probabilities)},
            {AT_HALF: float(at_half.mean())},
        )

    def _thresholds(self) -> NDArray[np.float64]:
        return np.array(self.thresholds or [HALF] * len(self.classes))


def _name(number: int) -> str:
    """Of a label's threshold among validation scores, counted from 1."""
    return f"{CHOSEN}{number + 1}"


def name_sets(given: Flags, classes: Sequence[str]) -> list[list[str]]:
    """The names of the labels of each text.

    Args:
        given: Shape [texts, labels].
    """
    return [[classes[label] for label in np.flatnonzero(row).tolist()] for row in given]


def write_sets(given: Flags, classes: Sequence[str]) -> list[str]:
    """The labels of each text as a JSON list, in the order of `classes`."""
    return [json.dumps(names, ensure_ascii=False) for names in name_sets(given, classes)]


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities; shape as given."""
    from scipy.special import expit

    probabilities: NDArray[np.float64] = expit(logits.astype(np.float64))
    return probabilities


def binary_cross_entropy(gold: Flags, logits: NDArray[np.float32]) -> float:
    """The mean over labels and examples."""
    values = logits.astype(np.float64)
    return float((np.logaddexp(0.0, values) - values * gold).mean())


def _likelihood_loss(gold: Flags, probabilities: NDArray[np.float64]) -> float:
    true = np.where(gold, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(true, np.finfo(float).tiny)).mean())


def choose_label_threshold(gold: Flags, probabilities: NDArray[np.float64]) -> float:
    """The probability from which on to give a label, so that its F1 is the highest.

    0.5 where no other is better; else half-way between two neighbouring probabilities, of several equally good cuts the one
    that is nearest to 0.5. A label that no example has keeps 0.5.

    Args:
        gold: Which examples have it; shape [examples].
        probabilities: Shape [examples].
    """
    if not gold.any():
        return HALF
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    given = np.arange(1, len(ordered) + 1)
    scores = 2 * np.cumsum(gold[order]) / (given + gold.sum())
    is_cut = np.append(ordered[1:] < ordered[:-1], True)
    below = np.append(ordered[1:], 0.0)
    cuts = np.flatnonzero(is_cut & (scores >= scores[is_cut].max() - 1e-12))
    if ((below[cuts] < HALF) & (ordered[cuts] >= HALF)).any():
        return HALF
    middles = (ordered[cuts] + below[cuts]) / 2
    return float(middles[np.abs(middles - HALF).argmin()])
