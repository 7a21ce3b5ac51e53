"""Adding a strategy is adding one file: no list, no option and no other module is changed."""

import re

import pytest
import torch
from click.testing import CliRunner

import pipeline.strategies.methods
from pipeline.__main__ import cli
from pipeline.config import TrainConfig
from pipeline.config.fields import config_class
from pipeline.errors import ConfigError, PluginError
from pipeline.stages.configure import configure
from pipeline.strategies.base import create_strategy, list_strategies, strategy_class
from pipeline.training.setup import find_inputs

MODULE = '''
from pipeline.config.fields import Count, config_class
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase, head, layers


@config_class
class SingleLayer(Strategy):
    """Train one layer and the head."""

    layer: Count = 1
    """Which, counted from 0 at the bottom."""

    def phases(self, context):
        return [Phase.training(head, layers(self.layer, self.layer + 1))]
'''


PEFT_MODULE = """
from pipeline.config.fields import config_class
from pipeline.strategies.adapters import LinearAdapter


@config_class
class ByPeft(LinearAdapter):

    def peft_config(self, peft, context, shared):
        return peft.{config}, **shared)
"""


@pytest.fixture
def add_module(add_module_to):
    """Puts a file beside the strategies for as long as the test lasts."""
    return add_module_to(pipeline.strategies.methods)


def test_one_file_is_a_strategy(add_module, tiny, tmp_path):
    assert "single_layer" not in list_strategies()
    add_module("single_layer", MODULE)
    assert "single_layer" in list_strategies()
    assert "single_layer" in CliRunner().invoke(cli, ["--help"]).output

    config = configure(TrainConfig, {"strategy": "single_layer", "strategy_args": "layer=2"})
    assert config.strategy_args == {"layer": 2}
    strategy = create_strategy(config.strategy, config.strategy_args)
    assert (strategy.name, strategy.summary()) == ("single_layer", "Train one layer and the head.")
    built = tiny.build(strategy, tiny.folder(), tiny.config())
    assert {parameter.location.layer for parameter in built.parameters.trainable} == {2, None}
    assert tiny.fit(built, tiny.config(), tmp_path / "checkpoints").steps == 1

    with pytest.raises(ConfigError, match="single_layer: layer"):
        configure(TrainConfig, {"strategy": "single_layer", "strategy_args": "layer=x"})
    with pytest.raises(ConfigError, match="Did you mean 'single_layer'"):
        create_strategy("single_layr", {})


@pytest.mark.parametrize(
    ("family", "modules"),
    [
        ("bert", {"query", "classifier"}),
        ("distilbert", {"q_lin", "pre_classifier", "classifier"}),
        ("modernbert", {"Wqkv", "dense", "norm", "classifier"}),
    ],
)
def test_the_example_of_the_guide_is_a_strategy(add_module, guide, tiny, tmp_path, family, modules):
    section, block = guide("Add a strategy in one file")
    (name,) = re.findall(r"Saved as `pipeline/strategies/methods/(\w+)\.py`", section)
    (typed,) = re.findall(rf"--strategy {name} --strategy-args ([\w.=]+)`", section)
    assert name not in list_strategies(), "the guide shows something new"
    add_module(name, block)
    config = configure(TrainConfig, {"strategy": name, "strategy_args": typed})
    strategy = create_strategy(config.strategy, config.strategy_args)
    built = tiny.build(strategy, tiny.folder(family), tiny.config())
    lr_multipliers = {parameter.name: parameter.lr_multipliers for parameter in built.parameters.trainable}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in lr_multipliers} == modules
    assert {lr_multiplier for (lr_multiplier,) in lr_multipliers.values()} == {0.5, 1.0}
    before = {name: parameter.clone() for name, parameter in built.model.named_parameters()}
    tiny.fit(built, tiny.config(), tmp_path / "checkpoints")
    moved = {name for name, parameter in built.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == set(lr_multipliers)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("family", ["bert", "modernbert"])
@pytest.mark.parametrize(
    ("config", "own"),
    [
        ("BOFTConfig(boft_block_size=4", {"boft_R", "boft_s"}),
        ("FourierFTConfig(n_frequency=20", {"fourierft_spectrum"}),
        ("LoHaConfig(r=8", {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),
    ],
)
def test_what_a_method_of_peft_puts_in_trains_whatever_it_is_called(add_module, tiny, tmp_path, family, config, own):
    add_module("by_peft", PEFT_MODULE.format(config=config))
    built = tiny.build(create_strategy("by_peft", {}), tiny.folder(family), tiny.config(epochs=2), total_steps=2)
    locations = {parameter.name: parameter.location for parameter in built.parameters.parameters}
    new = {name for name, location in locations.items() if location.part == "added"}
    assert {word for name in new for word in name.split(".")} >= own
    assert all(any(word in own for word in name.split(".")) for name in new)
    assert {location.layer for location in locations.values() if location.part == "layer"} == set(range(tiny.depth))
    before = {name: parameter.clone() for name, parameter in built.model.named_parameters()}
    tiny.fit(built, tiny.config(epochs=2), tmp_path / "checkpoints")
    moved = {name for name, parameter in built.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == new | {name for name, location in locations.items() if location.part == "head"}


HIDING_MODULE = '''
from torch import nn
from pipeline.config.fields import config_class
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase, added, head


class Wrapper(nn.Module):
    def __init__(self, dense):
        super().__init__()
        self.{inner} = dense
        self.scale = nn.Linear(dense.out_features, dense.out_features)

    def forward(self, x):
        return self.scale(self.{inner}(x))


@config_class
class ByWrapper(Strategy):
    """Train what stands around one layer."""

    def adapt(self, model, context):
        output = model.bert.encoder.layer[0].output
        output.dense = Wrapper(output.dense)
        return model

    def phases(self, context):
        return [Phase.training(added, head)]
'''


def test_a_wrapper_that_hides_what_it_wraps_is_no_silent_mistake(add_module, tiny):
    add_module("by_wrapper", HIDING_MODULE.format(inner="base_layer"))
    built = tiny.build(create_strategy("by_wrapper", {}), tiny.folder(), tiny.config())
    assert {parameter.location.part for parameter in built.parameters.trainable} == {"added", "head"}
    add_module("by_hiding", HIDING_MODULE.format(inner="inner").replace("ByWrapper", "ByHiding"))
    with pytest.raises(TypeError, match=r"has hidden .*output\.dense.* of the model\. A wrapper holds .* as `base_layer`"):
        tiny.build(create_strategy("by_hiding", {}), tiny.folder(), tiny.config())


def test_a_file_must_hold_a_strategy(add_module):
    add_module("odd", "")
    with pytest.raises(TypeError, match="exactly one strategy"):
        strategy_class("odd")


TYPO = """
from pipeline.config.fields import config_class
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase, head, inside_layers, layers, optional


@config_class
class Typo(Strategy):
    def phases(self, context):
        def queries(place):
            return ".qury." in place.name

        return [Phase.training(head), Phase.training(head, {selector}, start_epoch=1)]
"""


@pytest.mark.parametrize(
    ("selector", "named"),
    [
        ("queries", r"queries \(typo\.py, line 10\)"),
        ("lambda place: False", r"<lambda> \(typo\.py, line 13\)"),
        ('inside_layers("attension")', r"inside_layers\('attension'\)"),
        ("layers(9, 10)", r"layers\(9, 10\)"),
    ],
)
def test_a_selector_that_matches_nothing_is_refused_before_a_run_is_made(
    add_module, tiny, tmp_path, monkeypatch, selector, named
):
    monkeypatch.chdir(tmp_path)
    add_module("typo", TYPO.replace("{selector}", selector))
    message = rf"typo cannot work on bert: its selector {named}, from epoch 1 on, matches no parameter of .*bert"
    names = r"part 'layer': bert\.encoder\.layer\.N\.attention\.self\.query\.weight, .*part 'head': classifier\.weight"
    options = {"model": str(tiny.folder()), "dataset": str(tiny.csv()), "epochs": 2, "cache_dir": str(tmp_path / "cache")}
    config = configure(TrainConfig, {"strategy": "typo", **options})
    with pytest.raises(ConfigError, match=f"{message}.*{names}"):
        find_inputs(config)
    with pytest.raises(ConfigError, match=message):
        tiny.build(create_strategy("typo", {}), tiny.folder(), tiny.config(epochs=2))


@pytest.mark.parametrize("selector", ["optional(queries)", "layers(0, 0)", "layers(-2, 0)"])
def test_a_selector_that_may_match_nothing_is_not(add_module, tiny, selector):
    add_module("typo", TYPO.replace("{selector}", selector))
    built = tiny.build(create_strategy("typo", {}), tiny.folder(), tiny.config(epochs=2))
    assert {parameter.location.part for parameter in built.parameters.trainable} == {"head"}


@pytest.mark.parametrize("base", ["Strategy", "LinearAdapter"])
def test_a_strategy_without_its_decorator_is_told_to_have_it(add_module, base):
    imports = ["from pipeline.strategies.adapters import LinearAdapter", "from pipeline.strategies.base import Strategy"]
    add_module("bare", "\n".join([*imports, f"class Bare({base}):", "    pass"]))
    with pytest.raises(PluginError, match=rf"methods\.bare: write @{config_class.__name__} above class Bare"):
        create_strategy("bare", {})
    done = CliRunner().invoke(cli, ["train", "--strategy", "bare"])
    assert (done.exit_code, "Traceback" in done.output) == (2, False)
    assert "write @" in done.output
