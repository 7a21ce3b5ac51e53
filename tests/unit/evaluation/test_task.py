import io

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.task import ClassificationTask, RegressionTask, ThresholdTask

PAIRS = [("a", "b"), ("c", "d, e"), ("f", "g")]


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_scores_go_to_the_scale_of_the_outputs_and_back() -> None:
    task = RegressionTask(1.0, 5.0)
    assert task.targets(np.array([1.0, 3.0, 5.0, 0.0])).tolist() == [0.0, 0.5, 1.0, -0.25]
    assert task.targets(np.array([1, 5])).dtype == np.float32
    outputs = np.array([[0.0], [0.5], [1.25]], np.float32)
    assert task.answer(outputs)["label"].tolist() == [1.0, 3.0, 6.0]
    report = task.test(PAIRS, np.array([1.0, 2.0, 5.0]), lambda inputs: outputs, [], "a model")
    table = read(report.tables["predictions.csv"])
    assert table.columns.tolist() == ["sentence", "sentence_pair", "gold", "pred", "score"]
    assert table["sentence_pair"].tolist() == ["b", "d, e", "g"]
    assert table["pred"].tolist() == [1.0, 3.0, 6.0]
    assert table["score"].tolist() == [0.0, 0.5, 1.25]
    assert report.metrics["spearman"] == pytest.approx(1.0)
    assert set(report.figures) == {"scores.png"}


def test_validation_of_scores_has_the_loss_on_the_scale_of_the_outputs() -> None:
    task = RegressionTask(0.0, 5.0)
    found = task.score(task.targets(np.array([0.0, 5.0])), np.array([[0.5], [0.5]], np.float32))
    assert found == {"pearson": 0.0, "spearman": 0.0, "loss": 0.25}


def test_a_threshold_is_chosen_on_validation_and_kept_for_the_test() -> None:
    task = ThresholdTask(("different", "same"))
    gold = task.targets(np.array([0, 0, 1, 1]))
    found = task.score(gold, np.array([[0.1], [0.3], [0.5], [0.9]], np.float32))
    assert (found["accuracy"], found["threshold"]) == (1.0, pytest.approx(0.4))
    settled = task.settled(found)
    outputs = np.array([[0.39], [0.41], [-1.0]], np.float32)
    assert settled.answer(outputs)["label"].tolist() == ["different", "same", "different"]
    report = settled.test(PAIRS, np.array([0, 1, 1]), lambda inputs: outputs, ["different", "same"], "a model")
    assert report.metrics["accuracy"] == pytest.approx(2 / 3)
    table = read(report.tables["predictions.csv"])
    assert table.columns.tolist() == ["sentence", "sentence_pair", "gold", "pred", "score"]
    assert table["pred"].tolist() == ["different", "same", "different"]
    with pytest.raises(ValueError, match="No threshold"):
        task.answer(outputs)


@pytest.mark.parametrize("classes", [["different", "same"], ["same", "different"]])
def test_data_may_name_the_classes_in_another_order_than_the_model(classes: list[str]) -> None:
    labels = np.array([classes.index(name) for name in ("same", "different", "same")])
    outputs = np.array([[0.9], [0.1], [0.2]], np.float32)
    by_threshold = ThresholdTask(("different", "same"), 0.5)
    logits = np.array([[0, 3], [3, 0], [2, 1]], np.float32)
    by_class = ClassificationTask(("different", "same"))
    for task, answer in ((by_threshold, outputs), (by_class, logits)):
        report = task.test(PAIRS, labels, lambda inputs, answer=answer: answer, classes, "a model")
        assert report.metrics["accuracy"] == pytest.approx(2 / 3)
        table = read(report.tables["predictions.csv"])
        assert table["gold"].tolist() == ["same", "different", "same"]
        assert table["pred"].tolist() == ["same", "different", "different"]
    assert by_class.answer(logits)["label"].tolist() == ["same", "different", "different"]
