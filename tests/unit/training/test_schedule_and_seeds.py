"""The learning rate by step, and seeds that do not touch each other."""

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import FitConfig
from pipeline.training.optimizer import linear_warmup_decay, warmup_steps
from pipeline.training.seeding import Seeds, derive


@pytest.mark.parametrize(("total", "ratio"), [(1, 0.0), (1, 1.0), (10, 0.0), (10, 0.1), (95, 0.06), (20, 1.0)])
def test_the_schedule_is_that_of_transformers(total, ratio):
    warmup = warmup_steps(total, ratio)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = transformers.get_linear_schedule_with_warmup(optimizer, warmup, total)
    for step in range(total):
        assert linear_warmup_decay(step, total, warmup) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


@given(total=st.integers(1, 10_000), ratio=st.floats(0, 1), share=st.floats(0, 1))
def test_the_share_is_between_0_and_1(total, ratio, share):
    step = int(share * (total - 1))
    assert 0 <= linear_warmup_decay(step, total, warmup_steps(total, ratio)) <= 1


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
