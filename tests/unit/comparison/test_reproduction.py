"""Whether two trainings came out the same."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.reproduce import Trained, compare_trainings, explain

ONE = Trained(
    history={"train/loss": [(1, 0.7), (2, 0.5)], "val/accuracy": [(2, 0.8)]},
    scores={"val/accuracy": 0.8, "test/accuracy": 0.75},
    weights={"classifier.weight": np.ones((2, 3), np.float32)},
    predictions=["a", "b", "a"],
)


def test_the_same_is_equal_to_the_last_bit():
    found = compare_trainings(ONE, ONE, 0.0)
    assert (found.outcome, found.largest_score, found.largest_weight, found.other_predictions) == ("equal", 0, 0, 0)
    assert found.describe().startswith("equal: ")


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"scores": {"val/accuracy": 0.8, "test/accuracy": 0.754}}, "equal within tolerance"),
        ({"scores": {"val/accuracy": 0.8, "test/accuracy": 0.756}}, "different"),
        ({"scores": {"val/accuracy": 0.8}}, "different"),
        ({"weights": {"classifier.weight": np.full((2, 3), 1.001, np.float32)}}, "equal within tolerance"),
        ({"weights": {"classifier.weight": np.ones((2, 2), np.float32)}}, "equal within tolerance"),
        ({"history": {"train/loss": [(1, 0.7), (2, 0.6)], "val/accuracy": [(2, 0.8)]}}, "equal within tolerance"),
        ({"history": {"train/loss": [(1, 0.7)], "val/accuracy": [(2, 0.8)]}}, "equal within tolerance"),
        ({"predictions": ["a", "b", "b"]}, "equal within tolerance"),
        ({"predictions": ["a", "b"]}, "equal within tolerance"),
    ],
)
def test_nothing_that_differs_counts_as_equal(change, outcome):
    found = compare_trainings(ONE, replace(ONE, **change), 0.005)
    assert found.outcome == outcome
    assert found.describe().startswith(outcome)
    assert not found.describe().startswith("equal:")


def test_the_metric_that_differs_most_is_named():
    later = replace(ONE, history={"train/loss": [(1, 0.7), (2, 0.25)], "val/accuracy": [(2, 0.79)]})
    assert "train/loss by up to 0.25" in compare_trainings(ONE, later, 1).describe()


def test_a_metric_that_one_of_them_lacks_is_reported_in_valid_json():
    newer = replace(ONE, history={**ONE.history, "test/ece": [(0, 0.1)]})
    found = compare_trainings(ONE, newer, 0.0)
    assert found.outcome == "equal within tolerance"
    assert "scores differ by up to 0.0000, test/ece not logged at the same steps by both" in found.describe()
    record = json.loads(json.dumps(found.as_record(), allow_nan=False))
    assert record["largest_by_metric"] == {"test/ece": None, "train/loss": 0.0, "val/accuracy": 0.0}
    assert record["largest_score"] == 0.0


def test_a_score_of_a_metric_that_was_none_then_is_reported_alone():
    newer = replace(ONE, history={**ONE.history, "test/auroc": [(0, 0.9)]}, scores={**ONE.scores, "test/auroc": 0.9})
    found = compare_trainings(ONE, newer, 0.0)
    assert (found.outcome, found.largest_score) == ("equal within tolerance", 0.0)
    assert "test/auroc not logged at the same steps by both" in found.describe()


VALUES = st.floats(0, 1)


@given(st.dictionaries(st.sampled_from(["val/a", "val/b", "test/a"]), VALUES), VALUES)
def test_scores_decide_by_the_tolerance(scores, tolerance):
    moved = {name: value + tolerance / 2 for name, value in scores.items()}
    found = compare_trainings(replace(ONE, scores=scores), replace(ONE, scores=moved), tolerance)
    assert found.outcome != "different"
    assert not math.isinf(found.largest_score)


def test_what_changed_around_is_named():
    then = {"python": "3.11.1", "packages": {"torch": "2.12"}, "hardware": {"cpu": "A", "cpus": 2}, "command": ["x"]}
    now = {"python": "3.11.1", "packages": {"torch": "2.13"}, "hardware": {"cpu": "B", "cpus": 2}, "command": ["y"]}
    assert explain(then, now) == ["hardware cpu: A then, B now", "torch: 2.12 then, 2.13 now"]
    assert explain(then, then) == []
