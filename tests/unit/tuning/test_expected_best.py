import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tuning.plots import best_so_far, expected_best


@given(scores=st.lists(st.floats(-1, 1), min_size=1, max_size=8), lower=st.booleans())
def test_the_expectation_is_the_mean_best_over_all_subsets(scores, lower):
    best = min if lower else max
    for size, expected in enumerate(expected_best(scores, lower), start=1):
        assert expected == pytest.approx(
            statistics.fmean(best(part) for part in itertools.combinations(scores, size)), abs=1e-9
        )


def test_more_trials_than_floats_have_factorials_are_no_matter():
    expected = expected_best([i / 2000 for i in range(2000)])
    assert expected[0] == pytest.approx(0.49975)
    assert expected[-1] == pytest.approx(1999 / 2000)
    assert expected == sorted(expected)


def test_the_best_so_far_never_gets_worse():
    assert best_so_far([0.5, 0.7, 0.6], lower_is_better=False) == [0.5, 0.7, 0.7]
    assert best_so_far([0.5, 0.7, 0.4], lower_is_better=True) == [0.5, 0.5, 0.4]
