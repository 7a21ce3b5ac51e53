import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from pipeline.evaluation import task
from pipeline.evaluation.task import ClassificationTask, cross_entropy, softmax
from pipeline.evaluation.testing.predictions import count_confusions, report_by_class


def logits_for(predicted: list[int], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[predicted]


def score(gold: NDArray[np.int64], logits: NDArray[np.float32], classes: int) -> dict[str, float]:
    return ClassificationTask(tuple(map(str, range(classes)))).score(gold, logits)


# Three true examples of class 0, one of class 1, none of class 2; predicted 0, 0, 1 and 1.
GOLD, PREDICTED = np.array([0, 0, 0, 1]), [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("classes", "precision", "recall", "f1"),
    [
        (2, (1 + 1 / 2) / 2, (2 / 3 + 1) / 2, (4 / 5 + 2 / 3) / 2),
        (3, (1 + 1 / 2 + 0) / 3, (2 / 3 + 1 + 0) / 3, (4 / 5 + 2 / 3 + 0) / 3),
    ],
)
def test_macro_figures_average_over_all_classes(classes: int, precision: float, recall: float, f1: float) -> None:
    scores = score(GOLD, logits_for(PREDICTED, classes), classes)
    assert scores["accuracy"] == 0.75
    assert scores["precision_macro"] == pytest.approx(precision)
    assert scores["recall_macro"] == pytest.approx(recall)
    assert scores["f1_macro"] == pytest.approx(f1)
    # The true class has the logit 1 and the others 0, except once.
    assert scores["loss"] == pytest.approx(math.log(math.e + classes - 1) - 3 / 4)


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 1000))
def test_scores_agree_with_scikit_learn(classes: int, examples: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    gold = generator.integers(classes, size=examples)
    logits = generator.normal(size=(examples, classes)).astype(np.float32)
    predicted, labels = logits.argmax(axis=1), np.arange(classes)
    shared = {"labels": labels, "average": "macro", "zero_division": 0}
    found = score(gold, logits, classes)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(gold, predicted),
        "precision_macro": sklearn_metrics.precision_score(gold, predicted, **shared),
        "recall_macro": sklearn_metrics.recall_score(gold, predicted, **shared),
        "f1_macro": sklearn_metrics.f1_score(gold, predicted, **shared),
        "loss": sklearn_metrics.log_loss(gold, softmax(logits), labels=labels),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    expected = {
        "balanced_accuracy": sklearn_metrics.recall_score(
            gold, predicted, labels=np.unique(gold), average="macro", zero_division=0
        ),
        "f1_weighted": sklearn_metrics.f1_score(gold, predicted, **shared | {"average": "weighted"}),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["nll"] == pytest.approx(found["loss"])


def test_cross_entropy_of_even_scores_is_the_log_of_the_number_of_classes() -> None:
    assert cross_entropy(np.array([0, 3]), np.zeros((2, 4), np.float32)) == pytest.approx(math.log(4))


def test_extreme_logits_neither_overflow_nor_vanish() -> None:
    logits = np.array([[1e4, 0], [-1e4, 0]], np.float32)
    assert softmax(logits).tolist() == [[1, 0], [0, 1]]
    assert cross_entropy(np.array([0, 1]), logits) == 0
    assert cross_entropy(np.array([1, 0]), logits) == 1e4


@given(st.integers(0, 1000))
def test_softmax_gives_probabilities_in_the_order_of_the_logits_whatever_their_offset(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    probabilities = softmax(logits)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(3))
    assert np.array_equal(probabilities.argsort(axis=1), logits.argsort(axis=1))
    assert softmax(logits + np.float32(8)) == pytest.approx(probabilities, abs=1e-5)


def test_the_report_names_every_class_with_its_support() -> None:
    report = report_by_class(GOLD, np.array(PREDICTED), ["neg", "pos", "mixed"])
    assert list(report) == ["neg", "pos", "mixed"]
    assert report["neg"] == {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1-score": pytest.approx(4 / 5), "support": 3}
    assert report["mixed"] == {"precision": 0, "recall": 0, "f1-score": 0, "support": 0}


def test_confusions_have_true_classes_as_rows_and_absent_ones_too() -> None:
    assert count_confusions(GOLD, np.array(PREDICTED), np.arange(3)).tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1), st.sets(st.integers(0, 6), min_size=1))
def test_confusions_of_some_classes_agree_with_scikit_learn(pairs: list[tuple[int, int]], chosen: set[int]) -> None:
    gold, predicted = np.array(pairs).T
    expected = sklearn_metrics.confusion_matrix(gold, predicted, labels=np.arange(7))[np.ix_(sorted(chosen), sorted(chosen))]
    assert count_confusions(gold, predicted, np.array(sorted(chosen))).tolist() == expected.tolist()


def test_the_loss_does_not_depend_on_how_many_scores_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    gold, logits = generator.integers(5, size=99), generator.normal(size=(99, 5)).astype(np.float32)
    whole = cross_entropy(gold, logits)
    monkeypatch.setattr(task, "_AT_ONCE", 40)
    assert cross_entropy(gold, logits) == whole
