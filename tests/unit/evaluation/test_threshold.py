"""The decision between two classes by a threshold of the probability."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from pipeline.errors import ConfigError
from pipeline.evaluation.task import ClassificationTask, RegressionTask, Task, ThresholdTask, softmax
from pipeline.evaluation.threshold import choose_threshold

TASK = ClassificationTask(("common", "rare"))
GOLD = np.array([0] * 16 + [1] * 4)
LOGITS = np.stack([np.zeros(20), np.random.default_rng(0).normal(size=20) - 2 + 1.5 * GOLD], axis=1).astype(np.float32)
P = softmax(LOGITS)[:, 1]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=30))
def test_no_cut_has_a_higher_macro_f1(rows: list[tuple[int, int]]) -> None:
    gold, scores = np.array(rows).T
    probabilities = scores / 8

    def quality(threshold: float) -> float:
        return float(f1_score(gold, probabilities >= threshold, labels=[0, 1], average="macro", zero_division=0))

    best = max(quality(cut) for cut in np.arange(-0.01, 1.1, 0.02))
    assert quality(choose_threshold(gold, probabilities, "f1")) == pytest.approx(best)


def test_the_checkpoint_is_scored_by_argmax_and_the_threshold_chosen_beside() -> None:
    task = TASK.deciding_by("f1")
    plain, found = TASK.score(GOLD, LOGITS), task.score(GOLD, LOGITS)
    assert found == {**plain, "threshold": choose_threshold(GOLD, P, "f1")}
    settled = task.settled(found)
    assert isinstance(settled, ClassificationTask)
    threshold = found["threshold"]
    predicted = (threshold <= P).astype(int)
    assert f1_score(GOLD, predicted, average="macro") > plain["f1_macro"] + 0.05
    assert [TASK.classes[index] for index in predicted] == settled.answer(LOGITS)["label"].tolist()


def test_a_number_decides_everywhere() -> None:
    task = TASK.deciding_by("0.2")
    found = task.score(GOLD, LOGITS)
    assert found["threshold"] == 0.2
    assert found["f1_macro"] == pytest.approx(f1_score(GOLD, P >= 0.2, average="macro"))
    assert found["auroc"] == TASK.score(GOLD, LOGITS)["auroc"]


@pytest.mark.parametrize("classes", [["common", "rare"], ["rare", "common"]])
def test_the_test_decides_by_it_whatever_the_order_of_the_data(classes: list[str]) -> None:
    settled = TASK.settled({"threshold": 0.2})
    gold = np.array([classes.index(TASK.classes[index]) for index in GOLD])
    report = settled.test(["a text"] * 20, gold, lambda inputs: LOGITS[: len(inputs)], classes, "a model")
    assert report.metrics["f1_macro"] == pytest.approx(f1_score(GOLD, P >= 0.2, average="macro"))
    rows = report.tables["predictions.csv"].splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == [TASK.classes[int(p >= 0.2)] for p in P]
    said = settled.decide_in_order(classes)(softmax(LOGITS)[:, [TASK.classes.index(name) for name in classes]])
    assert [classes[index] for index in said] == [TASK.classes[int(p >= 0.2)] for p in P]


def test_without_one_nothing_changes() -> None:
    assert TASK.settled({"accuracy": 0.5}) == TASK == TASK.deciding_by("argmax")
    assert "threshold" not in TASK.score(GOLD, LOGITS)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (ClassificationTask(("a", "b", "c")), "a threshold lies between two classes, and there are 3"),
        (RegressionTask(0, 5), "labels are scores"),
        (ThresholdTask(("a", "b")), "a bi-encoder chooses a threshold of the cosine itself"),
    ],
)
def test_where_there_is_nothing_to_decide_it_is_refused(task: Task, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"--decision-threshold f1: {reason}.* Leave it out"):
        task.deciding_by("f1")
    assert task.deciding_by("argmax") is task
