from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipeline.evaluation.statistics.significance import combine_dependent, exact_mcnemar, holm, letter_groups


def test_mcnemar_agrees_with_a_published_example() -> None:
    # Agresti (2002), Categorical Data Analysis, table 10.1: 150 and 86 of 1,600 changed their approval of the prime minister.
    assert exact_mcnemar(150, 86) == pytest.approx(3.7e-5, rel=0.05)
    # By hand: 1 of 8 to one side has (1 + 8) / 256 in each tail.
    assert exact_mcnemar(1, 7) == pytest.approx(18 / 256)
    assert exact_mcnemar(0, 0) == 1


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_the_discordant_texts(first: int, second: int) -> None:
    wanted = binomtest(first, first + second).pvalue if first + second else 1.0
    assert exact_mcnemar(np.array([first]), np.array([second]))[0] == pytest.approx(wanted)


def test_holm_agrees_with_a_worked_example() -> None:
    # .005 * 4, .01 * 3, .03 * 2, and .04 * 1, which may not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_is_between_none_and_bonferroni(values: list[float]) -> None:
    found = holm(values)
    for value, adjusted in zip(values, found, strict=True):
        assert value <= adjusted <= min(1.0, value * len(values)) + 1e-12
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


@pytest.mark.parametrize(
    ("p_values", "combined"),
    [([0.03], 0.03), ([0.01, 0.2], 0.2), ([0.03, 0.001, 0.9], 0.045), ([0.03, 0.5, 0.01, 0.02, 0.9], 0.05), ([0.9] * 5, 1.0)],
)
def test_dependent_tests_are_combined_by_what_most_of_them_say(p_values: list[float], combined: float) -> None:
    assert combine_dependent(p_values) == pytest.approx(combined)


def test_letters_of_piephos_kind_of_example() -> None:
    assert letter_groups(4, []) == ["a"] * 4
    assert letter_groups(4, [(0, 2), (0, 3), (1, 3)]) == ["a", "ab", "bc", "c"]
    assert letter_groups(3, list(combinations(range(3), 2))) == ["a", "b", "c"]
    assert letter_groups(3, [(0, 2)]) == ["a", "ab", "b"]
    assert letter_groups(0, []) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8))))
def test_a_letter_is_shared_just_where_no_difference_was_found(members: int, drawn: set[tuple[int, int]]) -> None:
    differ = {pair for pair in drawn if pair[0] < pair[1] < members}
    letters = letter_groups(members, sorted(differ))
    assert all(letters)
    assert letters[0].startswith("a")
    for pair in combinations(range(members), 2):
        assert bool(set(letters[pair[0]]) & set(letters[pair[1]])) == (pair not in differ)
