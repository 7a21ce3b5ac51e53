import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline.comparison.breakdown import break_down
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.evaluation.testing.calibration import calibration
from pipeline.evaluation.testing.predictions import Predictions, score_by_length

CLASSES = ["a", "b", "c"]


@pytest.fixture
def recorded() -> RecordedPredictions:
    """Two seeds of one row, one of a row without probabilities; none is ever right about the third class."""
    generator = np.random.default_rng(0)
    texts = ["word " * int(count) for count in generator.integers(1, 40, 300)]
    gold = generator.integers(0, 2, 300)
    predicted = {name: np.where(generator.random(300) < 0.7, gold, generator.integers(0, 3, 300)) for name in "xyz"}
    confidence = {name: generator.uniform(0.4, 1.0, 300) for name in "xy"} | {"z": np.full(300, np.nan)}
    return RecordedPredictions(texts, gold, CLASSES, predicted, confidence)


ROWS = {"lora": ["x", "y"], "full": ["z"], "gone": ["w"]}


def test_f1_of_a_class_is_the_mean_over_seeds(recorded: RecordedPredictions) -> None:
    found = break_down(recorded, ROWS).by_class
    assert found["row"].tolist() == ["lora"] * 3 + ["full"] * 3
    assert found["class"].tolist() == CLASSES * 2
    assert found["texts"].tolist() == np.bincount(recorded.gold, minlength=3).tolist() * 2
    each = [f1_score(recorded.gold, recorded.predicted[name], labels=[0, 1, 2], average=None, zero_division=0) for name in "xy"]
    assert found["f1"].tolist()[:3] == pytest.approx(np.mean(each, axis=0))


def test_lengths_are_those_of_each_run(recorded: RecordedPredictions) -> None:
    found = break_down(recorded, ROWS).by_length
    runs = [score_by_length(recorded.texts, recorded.gold, recorded.predicted[name], 3) for name in "xyz"]  # type: ignore[arg-type]
    for name in ("min_words", "max_words", "texts"):
        assert found[name].tolist() == runs[0][name].tolist() * 2
    assert found["f1_macro"].tolist()[:4] == pytest.approx((runs[0]["f1_macro"] + runs[1]["f1_macro"]) / 2)
    assert found["f1_macro"].tolist()[4:] == pytest.approx(runs[2]["f1_macro"])


def test_certainty_is_that_of_each_run_and_reliability_of_all_answers(recorded: RecordedPredictions) -> None:
    found = break_down(recorded, ROWS)
    [(name, accuracy, confidence, ece)] = found.certainty.to_numpy().tolist()
    errors = [
        calibration(recorded.gold, Predictions(recorded.predicted[run], {"score_gold": one, "score_pred": one}), CLASSES)["ece"]
        for run in "xy"
        for one in [recorded.confidence[run]]
    ]
    assert (name, ece) == ("lora", pytest.approx(np.mean(errors)))
    assert accuracy == pytest.approx(np.mean([recorded.predicted[run] == recorded.gold for run in "xy"]))
    assert confidence == pytest.approx(np.mean([recorded.confidence[run] for run in "xy"]))
    assert found.reliability["texts"].sum() == 600
    assert set(found.reliability["row"]) == {"lora"}, "the other one gives no probabilities"


def test_pairs_count_the_words_of_both_texts() -> None:
    pairs = [("a b", "c"), ("a", "b c d")]
    recorded = RecordedPredictions(pairs, np.array([0, 1]), ["n", "y"], {"x": np.array([0, 1])}, {"x": np.ones(2)})
    found = break_down(recorded, {"full": ["x"]}).by_length
    assert found[["min_words", "max_words"]].to_numpy().tolist() == [[3, 3], [4, 4]]


def test_nothing_is_said_without_predictions() -> None:
    found = break_down(RecordedPredictions((), np.empty(0, np.int64), [], {}, {}), {"full": ["x"]})
    assert found.by_class.empty
    assert found.by_length.empty
    assert found.reliability.empty
    assert found.certainty.empty
