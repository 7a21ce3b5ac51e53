import numpy as np
import pytest

from pipeline.evaluation.testing.calibration import calibration, draw_reliability, reliability
from pipeline.evaluation.testing.predictions import Predictions, score_by_length


def test_the_calibration_error_of_a_worked_example() -> None:
    # Two bins are used: four texts at .9 of which three are right, one at .6 that is wrong.
    predicted = np.array([1, 1, 1, 0, 1])
    gold = np.array([1, 1, 1, 1, 0])
    good = np.array([0.9, 0.9, 0.9, 0.1, 0.6])
    found = calibration(gold, Predictions(predicted, {"score_bad": 1 - good, "score_good": good}), ["bad", "good"])
    assert found["ece"] == pytest.approx(0.8 * 0.15 + 0.2 * 0.6)
    assert found["nll"] == pytest.approx(-(3 * np.log(0.9) + np.log(0.1) + np.log(0.4)) / 5)


def test_of_many_classes_the_two_columns_are_used() -> None:
    scores = {"score_gold": np.array([0.5, 0.0]), "score_pred": np.array([0.5, 1.0])}
    found = calibration(np.array([3, 1]), Predictions(np.array([3, 2]), scores), [str(name) for name in range(200)])
    assert found["ece"] == pytest.approx(0.5 * 0.5 + 0.5 * 1.0)
    assert np.isfinite(found["nll"])


def test_bins_hold_every_text_once_and_their_upper_edge() -> None:
    table = reliability(np.array([True, False, True]), np.array([0.0, 1.0, 3 / 15]))
    assert table["texts"].tolist() == [1, 1, 1]
    assert table["high"].tolist() == pytest.approx([1 / 15, 3 / 15, 1.0])
    assert len(draw_reliability(table, 0.5, "$x$").axes) == 2


def test_quarters_by_length_hold_all_texts_and_never_part_equal_ones() -> None:
    texts = ["w " * length for length in (1, 2, 3, 4, 5, 6, 7, 8)]
    table = score_by_length(texts, np.arange(8) % 2, np.zeros(8, np.int64), 2)
    assert table[["min_words", "max_words", "texts"]].to_numpy().tolist() == [[1, 2, 2], [3, 4, 2], [5, 6, 2], [7, 8, 2]]
    assert table["accuracy"].tolist() == [0.5] * 4
    assert score_by_length(["a b"] * 5, np.zeros(5, np.int64), np.zeros(5, np.int64), 2)["texts"].tolist() == [5]
