"""What outputs mean where a text has any number of labels."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, roc_auc_score

from pipeline.evaluation.metric import Answers, Counts, Draws, list_metrics, measure, resampled, without_choices
from pipeline.evaluation.multi_label import MultiLabelTask, binary_cross_entropy, choose_label_threshold, sigmoid, write_sets

NAMES = ("a", "b, c", "ü")
TASK = MultiLabelTask(NAMES)


def draw(texts: int, labels: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    gold = generator.random((texts, labels)) < 0.4
    logits = (3 * gold - 2 + 2 * generator.standard_normal((texts, labels))).astype(np.float32)
    return gold, logits


def as_lists(gold: np.ndarray) -> np.ndarray:
    column = np.empty(len(gold), object)
    column[:] = [np.flatnonzero(row).tolist() for row in gold]
    return column


def test_metrics_are_scikit_learn_s() -> None:
    gold, logits = draw(60)
    predicted = logits > 0
    found = TASK.score(TASK.targets(as_lists(gold)), logits)
    assert found["f1_macro"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert found["f1_micro"] == pytest.approx(f1_score(gold, predicted, average="micro"))
    assert found["f1_samples"] == pytest.approx(f1_score(gold, predicted, average="samples", zero_division=1))
    assert found["subset_accuracy"] == (gold == predicted).all(axis=1).mean()
    assert found["hamming_loss"] == pytest.approx(hamming_loss(gold, predicted))
    assert found["average_precision"] == pytest.approx(average_precision_score(gold, logits, average="macro"))
    assert found["auroc"] == pytest.approx(roc_auc_score(gold, logits, average="macro"))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(gold).float())
    assert found["loss"] == pytest.approx(expected.item(), abs=1e-6)
    assert TASK.metrics == tuple(metric.name for metric in list_metrics("multi"))


def test_labels_that_all_texts_or_none_have_are_no_ranking() -> None:
    gold, logits = draw(20)
    gold[:, 0], gold[:, 1] = True, False
    found = measure(Answers(gold, logits > 0, 3, lambda: sigmoid(logits)))
    assert found["auroc"] == roc_auc_score(gold[:, 2], logits[:, 2])
    nothing = measure(Answers(np.zeros_like(gold), logits > 0, 3, lambda: sigmoid(logits)))
    assert (nothing["auroc"], nothing["average_precision"], nothing["f1_macro"]) == (0.5, 0.0, 0.0)


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(1, 30), st.integers(0, 1000))
def test_what_is_computed_from_counts_is_what_is_computed_from_answers(labels: int, texts: int, seed: int) -> None:
    gold, predicted = np.random.default_rng(seed).random((2, texts, labels)) < 0.4
    counts = Counts(
        (gold & predicted).sum(axis=0), predicted.sum(axis=0), gold.sum(axis=0), texts, (gold == predicted).all(axis=1).sum()
    )
    counted = [metric for metric in resampled("multi") if metric.from_counts]
    assert counted
    for metric in counted:
        assert metric.of_counts(counts) == pytest.approx(metric.compute(Answers(gold, predicted, labels)), abs=1e-12)


def test_over_drawn_texts_areas_are_those_of_the_texts() -> None:
    gold, logits = draw(40)
    probabilities, drawn = sigmoid(logits), np.random.default_rng(1).integers(0, 40, (5, 40))
    weights = np.stack([np.bincount(rows, minlength=40) for rows in drawn]).astype(np.float32)
    sorting = [metric for metric in resampled("multi") if metric.from_draws]
    assert [metric.name for metric in sorting] == ["average_precision", "auroc"]
    for metric, peer in zip(sorting, (average_precision_score, roc_auc_score), strict=True):
        expected = [peer(gold[rows], probabilities[rows], average="macro") for rows in drawn]
        np.testing.assert_allclose(metric.from_draws(Draws(gold, probabilities, weights)), expected)


def f1_at(gold: np.ndarray, probabilities: np.ndarray, threshold: float) -> float:
    given = probabilities >= threshold
    return float(2 * (gold & given).sum() / max(1, gold.sum() + given.sum()))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.05, 0.2, 0.45, 0.5, 0.6, 0.9])), min_size=1, max_size=12))
def test_no_threshold_is_better(examples: list[tuple[bool, float]]) -> None:
    gold, probabilities = np.array([one for one, _ in examples]), np.array([score for _, score in examples])
    threshold = choose_label_threshold(gold, probabilities)
    best = max(f1_at(gold, probabilities, cut) for cut in (*probabilities, 0.5))
    assert f1_at(gold, probabilities, threshold) == pytest.approx(best)
    if f1_at(gold, probabilities, 0.5) == pytest.approx(best):
        assert threshold == 0.5


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    assert choose_label_threshold(np.array([True, False]), np.array([0.9, 0.2])) == 0.5
    assert choose_label_threshold(np.array([True, False]), np.array([0.4, 0.2])) == pytest.approx(0.3)
    assert choose_label_threshold(np.array([False, False]), np.array([0.4, 0.2])) == 0.5


def test_thresholds_are_those_of_the_checkpoint_that_was_kept() -> None:
    gold, logits = draw(100)
    validation = TASK.score(TASK.targets(as_lists(gold)), logits)
    settled = TASK.settled(validation)
    expected = [choose_label_threshold(gold[:, label], sigmoid(logits)[:, label]) for label in range(3)]
    assert settled.thresholds == tuple(expected) != (0.5, 0.5, 0.5)
    assert validation["f1_macro_at_thresholds"] > validation["f1_macro"]
    assert without_choices(validation).keys() == validation.keys() - {"threshold_1", "threshold_2", "threshold_3"}
    rows = list(csv.reader(io.StringIO(TASK.describe_choice(validation))))
    assert rows == [["label", "threshold"], *([name, str(value)] for name, value in zip(NAMES, expected, strict=True))]


def test_a_test_is_scored_at_the_thresholds_and_at_a_half_in_the_order_of_the_data() -> None:
    gold, logits = draw(50)
    task = MultiLabelTask(NAMES, (0.3, 0.5, 0.8))
    order = [2, 0, 1]
    texts = [f"text {row}" for row in range(50)]
    report = task.test(texts, as_lists(gold[:, order]), lambda inputs: logits, [NAMES[label] for label in order], "a model")
    probabilities = sigmoid(logits)
    predicted = probabilities >= task.thresholds
    assert report.metrics["f1_macro"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert report.beside == {"f1_macro_at_half": pytest.approx(f1_score(gold, probabilities >= 0.5, average="macro"))}
    assert report.calibration["nll"] == pytest.approx(binary_cross_entropy(gold, logits))
    rows = list(csv.DictReader(io.StringIO(report.tables["predictions.csv"])))
    assert list(rows[0]) == ["sentence", "gold", "pred", "score_ü", "score_a", "score_b, c"]
    assert [set(json.loads(row["gold"])) for row in rows] == [{NAMES[label] for label in np.flatnonzero(row)} for row in gold]
    assert [set(json.loads(row["pred"])) for row in rows] == [
        {NAMES[label] for label in np.flatnonzero(row)} for row in predicted
    ]
    assert float(rows[0]["score_a"]) == pytest.approx(probabilities[0, 0], abs=1e-6)
    by_label = {row["class"]: row for row in csv.DictReader(io.StringIO(report.tables["per_class.csv"]))}
    assert [float(by_label[name]["threshold"]) for name in NAMES] == [0.3, 0.5, 0.8]
    assert report.figures.keys() == {"labels.png", "reliability.png"}
    assert sum(float(row["texts"]) for row in csv.DictReader(io.StringIO(report.tables["per_length.csv"]))) == 50


def test_what_is_served_is_the_labels_and_a_probability_of_each() -> None:
    answer = MultiLabelTask(NAMES, (0.3, 0.5, 0.8)).answer(np.array([[-0.5, -0.5, 1.0], [-5, -5, -5]], np.float32))
    assert answer["label"].tolist() == [["a"], []]
    assert list(answer) == ["label", *(f"score_{name}" for name in NAMES)]
    assert write_sets(np.array([[True, False, True]]), NAMES) == ['["a", "ü"]']
