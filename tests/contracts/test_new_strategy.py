"""Adding a strategy is adding one file: no list, no option and no other module is changed."""

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import pipeline.strategies
from pipeline.__main__ import cli
from pipeline.config import TrainConfig
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure
from pipeline.strategies.registry import create_strategy, list_strategies, strategy_class

MODULE = '''
from pipeline.fields import Count, typed
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase, head, layers


@typed
class SingleLayer(Strategy):
    """Train one layer and the head."""

    layer: Count = 1
    """Which, counted from 0 at the bottom."""

    def phases(self, context):
        return [Phase.training(head, layers(self.layer, self.layer + 1))]
'''


@pytest.fixture
def add_module(add_module_to):
    """Puts a file beside the strategies for as long as the test lasts."""
    return add_module_to(pipeline.strategies)


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
    assert {parameter.place.layer for parameter in built.parameters.trainable} == {2, None}
    assert tiny.fit(built, tiny.config(), tmp_path / "checkpoints").steps == 1

    with pytest.raises(ConfigError, match="single_layer: layer"):
        configure(TrainConfig, {"strategy": "single_layer", "strategy_args": "layer=x"})
    with pytest.raises(ConfigError, match="Did you mean 'single_layer'"):
        create_strategy("single_layr", {})


def test_the_example_of_the_guide_is_a_strategy(add_module, tiny, tmp_path):
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block, _ = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (name,) = re.findall(r"Saved as `pipeline/strategies/(\w+)\.py`", guide)
    (typed,) = re.findall(rf"--strategy {name} --strategy-args ([\w.=]+)`", guide)
    assert name not in list_strategies(), "the guide shows something new"
    add_module(name, block)
    config = configure(TrainConfig, {"strategy": name, "strategy_args": typed})
    strategy = create_strategy(config.strategy, config.strategy_args)
    built = tiny.build(strategy, tiny.folder(), tiny.config())
    factors = {parameter.name: parameter.factors for parameter in built.parameters.trainable}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in factors} == {"query", "classifier"}
    assert {factor for (factor,) in factors.values()} == {0.5, 1.0}
    before = {name: parameter.clone() for name, parameter in built.model.named_parameters()}
    tiny.fit(built, tiny.config(), tmp_path / "checkpoints")
    moved = {name for name, parameter in built.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == set(factors)


@pytest.mark.parametrize("text", ["", MODULE + MODULE.replace("SingleLayer", "OtherLayer")], ids=["none", "two"])
def test_a_file_must_hold_one_strategy(add_module, text):
    add_module("odd", text)
    with pytest.raises(TypeError, match="exactly one Strategy"):
        strategy_class("odd")
