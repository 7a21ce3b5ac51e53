"""What a model's outputs mean: classes by their logits, scores, or two classes told apart by a threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.imbalance import ARGMAX, BEST_F1
from pipeline.csv_text import write_csv
from pipeline.data.columns import Input
from pipeline.data.tokenization import Labels
from pipeline.errors import ConfigError
from pipeline.evaluation.metric import LOSS, Answers, LabelType, list_metrics, measure
from pipeline.evaluation.plots import draw_confusion, draw_scores
from pipeline.evaluation.testing.calibration import calibration, confidence_of, draw_reliability, reliability
from pipeline.evaluation.testing.predictions import (
    SCORED_CLASSES,
    Decide,
    Predictions,
    predict,
    report_by_class,
    score_by_length,
    tabulate,
)
from pipeline.evaluation.threshold import choose_threshold

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Outputs = NDArray[np.float32]
"""What a model says of examples; shape [examples, outputs]."""
Answer = Callable[[Sequence[Input]], Outputs]


@dataclass(frozen=True)
class EvaluationReport:
    """What is written of a model's test."""

    __test__ = False  # pytest takes it for one of its own

    metrics: dict[str, float]
    tables: dict[str, str]
    """File name -> CSV."""
    figures: dict[str, Figure]
    """File name -> picture."""
    calibration: dict[str, float] = field(default_factory=dict)
    """`ece` and `nll`, where classes have probabilities."""
    beside: dict[str, float] = field(default_factory=dict)
    """Further scores that are logged with the metrics."""


class Task:
    """How outputs are read, in training and in the test."""

    label_type: ClassVar[LabelType] = "class"
    loss: ClassVar[str]
    """Name of the loss by which it is trained, in `pipeline/objectives/losses`."""
    gives_probabilities: ClassVar[bool] = False
    """Whether the outputs of an example make a probability of each class."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are measured; validation has the loss beside."""
        known = list_metrics(self.label_type)
        return tuple(metric.name for metric in known if self.gives_probabilities or not metric.uses_probabilities)

    def targets(self, labels: NDArray[Any]) -> Labels:
        """What the loss compares outputs with, of labels as prepared data has them; shape [examples]."""
        raise NotImplementedError

    def score(self, gold: Labels, outputs: Outputs) -> dict[str, float]:
        """Validation metrics and the loss.

        Args:
            gold: What `targets` made of the labels.
        """
        raise NotImplementedError

    def deciding_by(self, how: str) -> Task:
        """With `--decision-threshold` as it is given.

        Raises:
            ConfigError: No threshold of a probability decides here.
        """
        if how != ARGMAX:
            raise ConfigError(f"--decision-threshold {how}: {self.why_no_threshold}. Leave it out.")
        return self

    @property
    def why_no_threshold(self) -> str:
        """Why no threshold of a probability can decide."""
        return "labels are scores, and nothing is decided"

    def settled(self, validation: dict[str, float]) -> Task:
        """The reading of the finished model, with what was chosen on validation data; by default as it is."""
        return self

    def describe_choice(self, validation: dict[str, float]) -> str:
        """What was chosen for each label on validation data, as CSV; by default nothing is."""
        return ""

    def answer(self, outputs: Outputs, min_score: float = 0.0) -> pd.DataFrame:
        """What is served: a row per example, the answer first, then its scores.

        Args:
            min_score: Probability below which a label is not given, where `why_no_min_score` says nothing.
        """
        raise NotImplementedError

    @property
    def why_no_min_score(self) -> str:
        """Why no label can be left out for its probability; empty where one can."""
        return "a prediction is a score, and has no probability"

    def test(
        self, inputs: Sequence[Input], labels: NDArray[Any], answer: Answer, classes: list[str], title: str
    ) -> EvaluationReport:
        """Scores, tables and pictures of a test.

        Args:
            labels: As prepared data has them.
            answer: Outputs for some of the inputs.
            classes: In the order of the data, which may be another than the model's.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ClassificationTask(Task):
    """One logit per class; the highest wins, or of two classes a threshold decides. The loss is the cross-entropy."""

    classes: tuple[str, ...]
    decision: str = ARGMAX
    """As `--decision-threshold` has it."""
    threshold: float | None = None
    """The probability of the second class from which on it is predicted; the highest probability decides if None."""
    loss: ClassVar[str] = "cross_entropy"

    @property
    def gives_probabilities(self) -> bool:  # type: ignore[override]
        """Of very many classes not all are kept."""
        return len(self.classes) <= SCORED_CLASSES

    @property
    def why_no_threshold(self) -> str:
        """It lies between two classes."""
        return f"a threshold lies between two classes, and there are {len(self.classes)}"

    def deciding_by(self, how: str) -> Task:
        """Of two classes by any."""
        if len(self.classes) != 2:
            return super().deciding_by(how)
        return replace(self, decision=how, threshold=None if how in (ARGMAX, BEST_F1) else float(how))

    def settled(self, validation: dict[str, float]) -> ClassificationTask:
        """With the threshold of the checkpoint that was kept, if there is one."""
        return replace(self, threshold=validation.get("threshold"))

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index of the class that is predicted; shape [examples, classes] -> [examples]."""
        if self.threshold is None:
            highest: NDArray[np.int64] = probabilities.argmax(axis=1)
            return highest
        return _above(probabilities[:, 1], self.threshold)

    def decide_in_order(self, classes: Sequence[str]) -> Decide:
        """The same of probabilities in another order of the classes, and an index in that."""
        if self.threshold is None:
            return lambda probabilities: probabilities.argmax(axis=1)
        places = np.array([classes.index(name) for name in self.classes])
        return lambda probabilities: places[self.decide(probabilities[:, places])]

    def targets(self, labels: NDArray[Any]) -> Labels:
        """Indices of classes, as they are."""
        return labels.astype(np.int64, copy=False)

    def score(self, gold: Labels, outputs: Outputs) -> dict[str, float]:
        """The metrics of classes, the loss, and the threshold if one decides.

        One that is to be chosen is chosen here, but metrics are those of the highest probability: so the checkpoint is chosen
        first, and its threshold by itself.
        """
        index, number = gold.astype(np.int64, copy=False), len(self.classes)
        predicted = outputs.argmax(axis=1) if self.threshold is None else self.decide(softmax(outputs))
        answers = Answers(index, predicted, number, (lambda: softmax(outputs)) if self.gives_probabilities else None)
        scores = {**measure(answers), LOSS: cross_entropy(index, outputs)}
        if self.decision == ARGMAX:
            return scores
        chosen = choose_threshold(index, softmax(outputs)[:, 1], BEST_F1) if self.threshold is None else self.threshold
        return {**scores, "threshold": chosen}

    def answer(self, outputs: Outputs, min_score: float = 0.0) -> pd.DataFrame:
        """The class, None where its probability is too low, and the probability of every class."""
        scores = softmax(outputs)
        frame = pd.DataFrame(scores, columns=[f"score_{name}" for name in self.classes])
        rows = zip(scores, self.decide(scores), strict=True)
        frame.insert(0, "label", [self.classes[best] if row[best] >= min_score else None for row, best in rows])
        return frame

    @property
    def why_no_min_score(self) -> str:
        """Each class has a probability."""
        return ""

    def test(
        self, inputs: Sequence[Input], labels: NDArray[Any], answer: Answer, classes: list[str], title: str
    ) -> EvaluationReport:
        """Scores, calibration, predictions with probabilities, scores by class and by length, and the confusion matrix."""
        order = [self.classes.index(name) for name in classes]
        decide = self.decide_in_order(classes)
        predictions = predict(lambda chosen: softmax(answer(chosen))[:, order], inputs, labels, classes, decide)
        report = _report_classes(inputs, labels, predictions, classes, title)
        calibrated = calibration(labels, predictions, classes)
        bins = reliability(predictions.predicted == labels, confidence_of(predictions, classes))
        picture = draw_reliability(bins, calibrated["ece"], caption(title, inputs))
        return replace(report, figures={"reliability.png": picture, **report.figures}, calibration=calibrated)


@dataclass(frozen=True)
class RegressionTask(Task):
    """One output: the score where 0 is the lowest of train and 1 the highest. The loss is the mean squared error."""

    low: float
    high: float
    loss: ClassVar[str] = "mean_squared_error"
    label_type: ClassVar[LabelType] = "score"

    def targets(self, labels: NDArray[Any]) -> Labels:
        """Scores on the scale of the outputs."""
        return ((labels - self.low) / (self.high - self.low)).astype(np.float32)

    def score(self, gold: Labels, outputs: Outputs) -> dict[str, float]:
        """The metrics of scores, and the loss."""
        predicted = outputs[:, 0]
        scaled = gold.astype(np.float32, copy=False)
        return {**measure(Answers(scaled, predicted)), LOSS: mean_squared_error(scaled, predicted)}

    def answer(self, outputs: Outputs, min_score: float = 0.0) -> pd.DataFrame:
        """The score on the data's scale, and the output."""
        return pd.DataFrame({"label": self._on_scale(outputs), "score": outputs[:, 0].astype(np.float64)})

    def test(
        self, inputs: Sequence[Input], labels: NDArray[Any], answer: Answer, classes: list[str], title: str
    ) -> EvaluationReport:
        """The metrics of scores, predictions on the data's scale, and how they scatter."""
        outputs = answer(inputs)
        predicted = self._on_scale(outputs)
        table = pd.DataFrame(
            {
                **columns_of(inputs),
                "gold": labels,
                "pred": predicted.round(6),
                "score": outputs[:, 0].astype(np.float64).round(6),
            }
        )
        picture = draw_scores(labels, predicted, caption(title, inputs))
        metrics = measure(Answers(labels, predicted))
        return EvaluationReport(metrics, {"predictions.csv": write_csv(table)}, {"scores.png": picture})

    def _on_scale(self, outputs: Outputs) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = self.low + outputs[:, 0].astype(np.float64) * (self.high - self.low)
        return scaled


@dataclass(frozen=True)
class ThresholdTask(Task):
    """One output: from a threshold on it stands for the second of two classes. The loss is its mean squared error to 0 or 1."""

    classes: tuple[str, ...]
    loss: ClassVar[str] = "mean_squared_error"
    threshold: float | None = None
    """Chosen on validation data; None until it is."""

    @property
    def why_no_threshold(self) -> str:
        """It has one of its own."""
        return "a bi-encoder chooses a threshold of the cosine itself, on validation data"

    def targets(self, labels: NDArray[Any]) -> Labels:
        """0 or 1 as numbers that an output can be compared with."""
        return labels.astype(np.float32)

    def score(self, gold: Labels, outputs: Outputs) -> dict[str, float]:
        """The metrics of classes at the threshold that makes accuracy highest here, it, and the loss."""
        index, scores = gold.astype(np.int64), outputs[:, 0]
        threshold = choose_threshold(index, scores)
        metrics = measure(Answers(index, _above(scores, threshold), len(self.classes)))
        return {**metrics, "threshold": threshold, LOSS: mean_squared_error(gold.astype(np.float32, copy=False), scores)}

    def settled(self, validation: dict[str, float]) -> ThresholdTask:
        """With the threshold of the checkpoint that was kept."""
        return replace(self, threshold=validation["threshold"])

    @property
    def why_no_min_score(self) -> str:
        """A cosine is no probability."""
        return "a bi-encoder compares texts by their cosine, which is no probability"

    def answer(self, outputs: Outputs, min_score: float = 0.0) -> pd.DataFrame:
        """The class, and the output."""
        predicted = self._classify(outputs)
        return pd.DataFrame({"label": [self.classes[index] for index in predicted], "score": outputs[:, 0].astype(np.float64)})

    def test(
        self, inputs: Sequence[Input], labels: NDArray[Any], answer: Answer, classes: list[str], title: str
    ) -> EvaluationReport:
        """Scores at the threshold, predictions with the output, scores by class and by length, and the confusion matrix.

        A cosine is no probability, so nothing is said of calibration.
        """
        outputs = answer(inputs)
        order = np.array([classes.index(name) for name in self.classes])
        predictions = Predictions(order[self._classify(outputs)], {"score": outputs[:, 0].astype(np.float64)})
        return _report_classes(inputs, labels, predictions, classes, title)

    def _classify(self, outputs: Outputs) -> NDArray[np.int64]:
        if self.threshold is None:
            raise ValueError("No threshold was chosen yet.")
        return _above(outputs[:, 0], self.threshold)


def things(inputs: Sequence[Input]) -> str:
    """What the inputs are, in the plural."""
    return "texts" if isinstance(inputs[0], str) else "pairs"


def columns_of(inputs: Sequence[Input]) -> dict[str, list[str]]:
    """The texts of a table of predictions: `sentence`, and of pairs `sentence_pair`."""
    if not inputs or isinstance(inputs[0], str):
        return {"sentence": [str(text) for text in inputs]}
    return {name: [pair[side] for pair in inputs] for side, name in enumerate(("sentence", "sentence_pair"))}


def as_one_text(given: Input) -> str:
    """A text, or both of a pair."""
    return given if isinstance(given, str) else " ".join(given)


def caption(title: str, inputs: Sequence[Input]) -> str:
    """What stands above a picture of a test."""
    return f"{title}: {len(inputs):,} test {things(inputs)}"


def _above(scores: Scores, threshold: float) -> NDArray[np.int64]:
    above: NDArray[np.int64] = (scores.astype(np.float64) >= threshold).astype(np.int64)
    return above


def _report_classes(
    inputs: Sequence[Input], labels: NDArray[np.int64], predictions: Predictions, classes: list[str], title: str
) -> EvaluationReport:
    by_class = pd.DataFrame(report_by_class(labels, predictions.predicted, classes)).T
    by_length = score_by_length([as_one_text(given) for given in inputs], labels, predictions.predicted, len(classes))
    picture = draw_confusion(labels, predictions.predicted, classes, caption(title, inputs))
    return EvaluationReport(
        measure(predictions.beside(labels, classes)),
        {
            "predictions.csv": write_csv(tabulate(columns_of(inputs), labels, predictions, classes)),
            "per_class.csv": write_csv(by_class.reset_index(names="class")),
            "per_length.csv": by_length.to_csv(index=False),
        },
        {"confusion_matrix.png": picture},
    )


_AT_ONCE = 20_000_000  # scores turned into float64 at a time
Scores = NDArray[np.float32] | NDArray[np.float64]


def cross_entropy(gold: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    """Mean negative log-likelihood of the true classes."""
    step = max(1, _AT_ONCE // logits.shape[1])
    log_likelihood = np.empty(len(gold))
    for start in range(0, len(gold), step):
        rows, true = logits[start : start + step], gold[start : start + step]
        shifted = rows.astype(np.float64) - rows.max(axis=1, keepdims=True)
        log_likelihood[start : start + step] = shifted[np.arange(len(true)), true] - np.log(np.exp(shifted).sum(axis=1))
    return float(-log_likelihood.mean())


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities; shape [examples, classes]."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def mean_squared_error(gold: Scores, predicted: Scores) -> float:
    """Mean of the squared differences."""
    return float(np.mean((gold.astype(np.float64) - predicted.astype(np.float64)) ** 2))
