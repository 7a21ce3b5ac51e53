import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.search_ranges import Choices, Integers, LogUniform, find_end, parse_range
from pipeline.errors import ConfigError

RANGES = st.one_of(
    st.lists(st.integers(), min_size=1, unique=True).map(lambda values: Choices(tuple(values))),
    st.tuples(st.integers(-50, 50), st.integers(0, 50)).map(lambda ends: Integers(ends[0], ends[0] + ends[1])),
    st.tuples(st.floats(1e-8, 1.0), st.floats(1.0, 1e4)).map(lambda ends: LogUniform(ends[0], ends[0] * ends[1])),
)


@given(one=RANGES, seed=st.integers())
def test_draws_stay_within_the_range_and_a_recipe_can_say_every_range(one, seed):
    drawn = one.draw(random.Random(seed))
    if isinstance(one, LogUniform):
        assert one.low <= drawn <= one.high
    else:
        assert drawn in one.values()
    assert parse_range("x", one.describe()) == one


@given(st.integers(0, 10))
def test_every_order_of_magnitude_is_as_likely_as_another(seed):
    generator = random.Random(seed)
    draws = [LogUniform(1e-5, 1e-3).draw(generator) for _ in range(2000)]
    assert 0.45 < sum(draw < 1e-4 for draw in draws) / len(draws) < 0.55


def test_numbers_that_yaml_reads_as_text_are_numbers():
    assert parse_range("x", ["1e-5", 2, "gelu"]) == Choices((1e-5, 2, "gelu"))
    assert parse_range("x", {"log_uniform": ["1e-5", "1e-3"]}) == LogUniform(1e-5, 1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "holds no value"),
        ([1, 1], "holds a value twice"),
        ("1e-5", "must hold a list of values"),
        ({"integers": [1, 2], "log_uniform": [1, 2]}, "must hold a list of values"),
        ({"integer": [1, 2]}, "Unknown kind of range 'integer'. Did you mean 'integers'?"),
        ({"integers": [1, 2.5]}, "are not whole numbers"),
        ({"integers": [2, 1]}, "two numbers in ascending order"),
        ({"integers": 3}, "two numbers in ascending order"),
        ({"log_uniform": [1e-5, "inf"]}, "two numbers in ascending order"),
        ({"log_uniform": ["a", "b"]}, "two numbers in ascending order"),
        ({"log_uniform": [0, 1]}, "must begin above 0"),
    ],
)
def test_a_faulty_range_is_answered_with_what_is_wrong(given, message):
    with pytest.raises(ConfigError) as caught:
        parse_range("epochs", given)
    assert str(caught.value).startswith("space: 'epochs'")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("search_range", "value", "end"),
    [
        (Choices((2e-5, 4e-5, 8e-5)), 8e-5, "highest"),
        (Choices((8e-5, 2e-5, 4e-5)), 2e-5, "lowest"),
        (Choices((2e-5, 4e-5, 8e-5)), 4e-5, ""),
        (Choices((0.1, 0.2)), 0.2, ""),
        (Choices((0.0, 0.1, 0.2)), 0.0, ""),
        (Choices((16, 32, 64)), 64, ""),
        (Choices((0.1, 0.2, "auto")), 0.2, ""),
        (Integers(1, 6), 6, ""),
        (LogUniform(1e-5, 1e-3), 1.5e-5, "lowest"),
        (LogUniform(1e-5, 1e-3), 7e-4, "highest"),
        (LogUniform(1e-5, 1e-3), 1e-4, ""),
        (LogUniform(1e-5, 1e-5), 1e-5, ""),
    ],
)
def test_the_end_of_a_range_is_known_where_a_wider_one_is_possible(search_range, value, end):
    assert find_end(search_range, value) == end
