"""The learning rate by step, and seeds that do not touch each other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.optimization import get_scheduler

from pipeline.config import FitConfig
from pipeline.training.optimizer import build_schedule, warmup_steps
from pipeline.training.seeding import Seeds, derive


@pytest.mark.parametrize(
    ("total", "ratio", "shares"),
    [
        (1, 0.0, [1]),
        (1, 1.0, [0]),
        (4, 0.0, [1, 3 / 4, 2 / 4, 1 / 4]),
        (5, 0.3, [0, 1 / 2, 1, 2 / 3, 1 / 3]),  # the warm-up is rounded up
        (4, 1.0, [0, 1 / 4, 2 / 4, 3 / 4]),
    ],
)
def test_the_rate_rises_over_the_warm_up_and_falls_to_zero(total, ratio, shares):
    schedule = build_schedule(total, ratio)
    assert [schedule(step) for step in range(total)] == shares, "to the last bit"
    assert schedule(total) == 0


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("cosine", [0, 1 / 2, 1, 3 / 4, 1 / 4]), ("constant", [0, 1 / 2, 1, 1, 1]), ("linear", [0, 1 / 2, 1, 2 / 3, 1 / 3])],
)
def test_after_the_warm_up_the_schedule_decides(schedule, shares):
    share = build_schedule(5, 0.3, schedule)
    assert [share(step) for step in range(5)] == pytest.approx(shares)
    assert share(5) == pytest.approx(float(schedule == "constant"))


@given(
    total=st.integers(1, 10_000),
    ratio=st.floats(0, 1),
    share=st.floats(0, 1),
    schedule=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_the_share_is_between_0_and_1(total, ratio, share, schedule):
    assert 0 <= build_schedule(total, ratio, schedule)(int(share * (total - 1))) <= 1


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize(("total", "ratio"), [(1, 0.0), (1, 1.0), (7, 0.3), (100, 0.0), (1234, 0.06)])
def test_schedules_are_those_of_transformers_to_the_last_bit(schedule, total, ratio):
    unused = torch.optim.SGD([torch.nn.Parameter(torch.empty(0))], lr=1.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule  # transformers' own "constant" has no warm-up
    (expected,) = get_scheduler(name, unused, warmup_steps(total, ratio), total).lr_lambdas
    share = build_schedule(total, ratio, schedule)
    assert [share(step) for step in range(total + 1)] == [expected(step) for step in range(total + 1)]


def test_seeds_are_equal_for_equal_configs_and_all_differ():
    assert Seeds.of(FitConfig(seed=1)) == Seeds.of(FitConfig(seed=1))
    first, second = Seeds.of(FitConfig(seed=1)), Seeds.of(FitConfig(seed=2))
    values = [*vars(first).values(), *vars(second).values()]
    assert len(set(values)) == len(values) == 8


@pytest.mark.parametrize(
    ("option", "changed"), [("data_seed", {"order"}), ("init_seed", {"head", "adapters"}), ("dropout_seed", {"dropout"})]
)
def test_one_source_of_chance_can_vary_alone(option, changed):
    base, varied = vars(Seeds.of(FitConfig(seed=1))), vars(Seeds.of(FitConfig(**{"seed": 1, option: 9})))
    assert {name for name in base if base[name] != varied[name]} == changed
    assert varied == {**base, **{name: vars(Seeds.of(FitConfig(seed=9)))[name] for name in changed}}


@given(seed=st.integers(0, 2**32 - 1), purpose=st.text(max_size=20))
def test_seeds_suit_every_generator(seed, purpose):
    assert 0 <= derive(seed, purpose) < 2**31
