"""Which parameters decay, and how rates follow phases."""

import pytest

from pipeline.config.fields import config_class
from pipeline.strategies.base import Strategy, create_strategy
from pipeline.strategies.freezing import ParamGroup, Phase, everything, head
from pipeline.training.optimizer import build_optimizer, set_learning_rate


@config_class
class Discriminative(Strategy):
    """The head alone at first, then everything, the encoder at a tenth."""

    def phases(self, context):
        return [Phase.training(head), Phase((ParamGroup(head), ParamGroup(everything, 0.1)), start_epoch=1)]


def names_of(built, members):
    ids = {id(parameter) for parameter in members}
    return {name for name, parameter in built.model.named_parameters() if id(parameter) in ids}


def test_biases_and_layer_norms_do_not_decay(tiny):
    built = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config())
    groups = {
        group["weight_decay"]: names_of(built, group["params"])
        for group in build_optimizer(built.model, built.parameters, 0.01).param_groups
    }
    assert groups.keys() == {0.0, 0.01}
    assert groups[0.0] == {name for name in groups[0.0] | groups[0.01] if "LayerNorm" in name or name.endswith(".bias")}
    assert "classifier.weight" in groups[0.01]


@pytest.mark.parametrize(
    ("strategy", "arguments", "spared", "decays"),
    [
        ("ia3", {}, {"ia3_l"}, set()),
        ("boft", {}, {"boft_s"}, {"boft_R"}),
        ("lora", {}, set(), {"lora_A", "lora_B"}),
        ("lora", {"r": 1}, set(), {"lora_A", "lora_B"}),  # matrices of one row or column that are no scales
    ],
)
def test_scales_that_begin_as_one_do_not_decay(tiny, strategy, arguments, spared, decays):
    built = tiny.build(create_strategy(strategy, arguments), tiny.folder(), tiny.config())
    kinds = {0.0: set(), 0.01: set()}
    for group in build_optimizer(built.model, built.parameters, 0.01).param_groups:
        names = {part for name in names_of(built, group["params"]) for part in name.split(".")}
        kinds[group["weight_decay"]] |= names & {"ia3_l", "boft_s", "boft_R", "lora_A", "lora_B"}
    assert kinds == {0.0: spared, 0.01: decays}


def test_a_step_of_adamw_is_fused(tiny):
    built = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config())
    assert all(group["fused"] for group in build_optimizer(built.model, built.parameters, 0.01).param_groups)


@pytest.mark.parametrize(("phase", "rates"), [(0, {True: 1e-3, False: 0.0}), (1, {True: 1e-3, False: 1e-4})])
def test_rates_follow_the_phase(tiny, phase, rates):
    built = tiny.build(Discriminative(), tiny.folder(), tiny.config(epochs=2))
    optimizer = build_optimizer(built.model, built.parameters, 0.0)
    set_learning_rate(optimizer, 1e-3, phase)
    found = {}
    for group in optimizer.param_groups:
        for name in names_of(built, group["params"]):
            found.setdefault(name.startswith("classifier."), set()).add(group["lr"])
    assert {is_head: sorted(own) for is_head, own in found.items()} == {
        is_head: [pytest.approx(rate)] for is_head, rate in rates.items()
    }
