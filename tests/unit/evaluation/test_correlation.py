import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.evaluation.metric import Answers, measure
from pipeline.evaluation.task import mean_squared_error
from pipeline.evaluation.threshold import choose_threshold


def correlate(gold: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return measure(Answers(gold, predicted))


FLOATS = st.floats(-5, 5, width=32)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=3, max_size=40))
def test_correlations_are_those_of_scipy(pairs) -> None:
    gold, predicted = np.array(pairs, np.float64).T
    found = correlate(gold, predicted)
    if np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        assert found == {"pearson": 0.0, "spearman": 0.0}
        return
    assert found["spearman"] == pytest.approx(stats.spearmanr(gold, predicted).statistic, nan_ok=True)
    assert found["pearson"] == pytest.approx(stats.pearsonr(gold, predicted).statistic, nan_ok=True)


def test_correlations_worked_by_hand() -> None:
    # Deviations (-2, -1, 0, 1, 2) and (-2, 0, -1, 1, 2): Σxy = 9, Σx² = Σy² = 10; the same values are the ranks.
    gold, predicted = np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 3, 2, 4, 5])
    assert correlate(gold, predicted) == {"pearson": pytest.approx(0.9), "spearman": pytest.approx(0.9)}
    # Stretching what is predicted leaves the ranks alone.
    assert correlate(gold, np.exp(3 * predicted))["spearman"] == pytest.approx(0.9)
    assert correlate(gold, np.exp(3 * predicted))["pearson"] < 0.8
    # Ties share their mean rank: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4 give 4.5 / sqrt(4.5 * 5).
    tied = correlate(np.array([1.0, 2, 3, 4]), np.array([0.0, 7, 7, 9]))
    assert tied["spearman"] == pytest.approx(4.5 / np.sqrt(22.5))


def test_without_any_spread_nothing_is_told() -> None:
    assert correlate(np.ones(4), np.arange(4.0)) == {"pearson": 0.0, "spearman": 0.0}
    assert correlate(np.ones(1), np.ones(1)) == {"pearson": 0.0, "spearman": 0.0}


def test_the_error_is_the_mean_of_squares() -> None:
    assert mean_squared_error(np.array([0.0, 1.0]), np.array([0.5, 0.0])) == pytest.approx((0.25 + 1) / 2)


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([-0.5, 0.0, 0.1, 0.3, 0.7])), min_size=1, max_size=30))
def test_no_other_threshold_classifies_more_rightly(examples) -> None:
    gold, scores = np.array([one for one, _ in examples]), np.array([score for _, score in examples], np.float32)

    def right(threshold: float) -> int:
        return int(((scores.astype(np.float64) >= threshold) == gold).sum())

    assert right(choose_threshold(gold, scores)) == max(map(right, [-1, -0.2, 0.05, 0.2, 0.5, 1]))


def test_a_threshold_lies_halfway_and_is_the_lowest_of_equals() -> None:
    scores = np.array([0.9, 0.1, 0.5, 0.3], np.float32)
    assert choose_threshold(np.array([1, 0, 1, 0]), scores) == pytest.approx(0.4)
    assert choose_threshold(np.array([1, 1, 1, 1]), scores) == pytest.approx(0.1)
    assert choose_threshold(np.array([0, 0, 0, 0]), scores) > 0.9
    # 0.1 -> 1, 0.3 -> 0, 0.5 -> 1, 0.9 -> 0: cut at the bottom, or anywhere else, two or three are right.
    assert choose_threshold(np.array([0, 1, 1, 0]), scores) == pytest.approx(0.1)
