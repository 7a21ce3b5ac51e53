import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.search_ranges import Choices, Integers, LogUniform
from pipeline.errors import ConfigError
from pipeline.tuning.space import SEARCHABLE, STUDY_SPACE, Space

FINITE = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(
    lambda sizes: Space({f"x{place}": Integers(1, size) for place, size in enumerate(sizes)})
)


@given(space=FINITE, seed=st.integers(0, 2**32 - 1))
def test_random_draws_of_a_finite_space_take_every_point_once(space, seed):
    points = [tuple(space.draw(number, seed).items()) for number in range(space.size)]
    assert sorted(points) == sorted(tuple(space.point(index).items()) for index in range(space.size))


def test_the_grid_is_the_product_in_order():
    space = Space({"a": Choices(("x", "y")), "b": Integers(1, 3)})
    assert [tuple(space.point(index).values()) for index in range(6)] == list(itertools.product("xy", (1, 2, 3)))
    assert list(space.point(0)) == ["a", "b"]


@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 500))
def test_a_draw_depends_on_its_number_and_the_seed_alone(seed, number):
    space = Space({"learning_rate": LogUniform(1e-5, 1e-2), "r": Choices((4, 8))})
    assert space.size is None
    assert space.draw(number, seed) == space.draw(number, seed)
    assert space.draw(number, seed) != space.draw(number + 1, seed) or space.draw(number, seed) != space.draw(number + 2, seed)


def test_seeds_draw_in_different_orders():
    space = Space(STUDY_SPACE)
    assert space.size == 54
    orders = {str([space.draw(number, seed) for number in range(54)]) for seed in range(20)}
    assert len(orders) == 20


def test_what_trials_are_compared_on_is_not_searched():
    with pytest.raises(ConfigError) as caught:
        Space({"seed": Integers(1, 3), "r": Choices((4,)), "ranks": Choices((4,)), "dropout": Choices((0.1,))}).check_names(
            "lora"
        )
    assert len(caught.value.messages) == 2
    assert "'seed' decides what trials are compared on" in str(caught.value)
    assert "Unknown option or argument of lora 'ranks'" in str(caught.value)
    assert not SEARCHABLE & {"seed", "data_seed", "dataset", "max_eval_samples", "metric_for_best_model"}
