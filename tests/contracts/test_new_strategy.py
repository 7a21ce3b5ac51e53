"""Adding a strategy is adding one file: no list, no option and no other module is changed."""

import sys

import pytest
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
def add_module(tmp_path, monkeypatch):
    """Puts a file beside the strategies for as long as the test lasts."""
    monkeypatch.setattr(pipeline.strategies, "__path__", [*pipeline.strategies.__path__, str(tmp_path)])
    added = []

    def add(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        added.append(name)

    yield add
    for name in added:
        sys.modules.pop(f"pipeline.strategies.{name}", None)
        vars(pipeline.strategies).pop(name, None)


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


@pytest.mark.parametrize("text", ["", MODULE + MODULE.replace("SingleLayer", "OtherLayer")], ids=["none", "two"])
def test_a_file_must_hold_one_strategy(add_module, text):
    add_module("odd", text)
    with pytest.raises(TypeError, match="exactly one Strategy"):
        strategy_class("odd")
