"""Adding a head is adding one file: the one that the guide shows is taken as it stands."""

import re

import pytest
import torch
from click.testing import CliRunner
from pairs import moved, snapshot

import pipeline.modeling.heads
from pipeline.__main__ import cli
from pipeline.config import TrainConfig
from pipeline.errors import ConfigError, PluginError
from pipeline.modeling.head import head_class, list_heads
from pipeline.stages.configure import configure
from pipeline.strategies.base import create_strategy


@pytest.fixture
def add_module(add_module_to):
    """Puts a file beside the heads for as long as the test lasts."""
    return add_module_to(pipeline.modeling.heads)


def test_the_example_of_the_guide_is_a_head(add_module, guide, tiny, tmp_path):
    section, block = guide("Add a head in one file")
    (name,) = re.findall(r"Saved as `pipeline/modeling/heads/(\w+)\.py`", section)
    (strategy,) = re.findall(rf"--strategy (\w+) --head {name}`", section)
    assert name not in list_heads(), "the guide shows something new"
    with pytest.raises(ConfigError, match="Unknown head"):
        configure(TrainConfig, {"head": name})
    add_module(name, block)
    assert name in CliRunner().invoke(cli, ["--help"]).output
    assert configure(TrainConfig, {"strategy": strategy, "head": name}).head == name
    for chosen in (strategy, "linear_probe"):
        built = tiny.build(create_strategy(chosen, {}), tiny.folder(), tiny.config(head=name))
        before = snapshot(built.model)
        tiny.fit(built, tiny.config(head=name), tmp_path / chosen)
        assert moved(before, snapshot(built.model)) == {parameter.name for parameter in built.parameters.trainable}
    states, mask = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert head_class(name)(1, 2, 0.0).pool(states, mask).tolist() == [[2.0]]


def test_a_file_must_hold_one_head(add_module):
    add_module("odd", "")
    with pytest.raises(TypeError, match="exactly one head"):
        head_class("odd")


@pytest.mark.parametrize(
    ("answer", "shape"), [("states", r"\[2, 3, 32\]"), ("states.amax(2)", r"\[2, 3\]"), ("None", "NoneType")], ids=str
)
def test_a_head_that_makes_no_vector_of_a_text_is_refused_by_name(add_module, tiny, answer, shape):
    lines = ["class Odd(PoolingHead):", "    def pool(self, states, mask):", f"        return {answer}"]
    text = "\n".join(["from pipeline.modeling.pooling import PoolingHead", *lines])
    add_module("odd", text)
    with pytest.raises(
        PluginError, match=rf"heads\.odd: pool of class Odd makes {shape} of .*, and must make .*here \[2, 32\]"
    ):
        tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config(head="odd"))
