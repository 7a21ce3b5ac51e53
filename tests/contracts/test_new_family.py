"""Adding an encoder family is adding one file: the one that the guide shows is taken as it stands."""

import re

import pytest
import torch
from pairs import make, moved, snapshot
from transformers import BertTokenizerFast, LayoutLMConfig, LayoutLMModel

import pipeline.modeling.families
from pipeline.errors import ConfigError, PluginError
from pipeline.modeling.encoder import describe_encoder
from pipeline.modeling.family import find_family, list_model_types
from pipeline.modeling.loading import check_weights
from pipeline.modeling.model_sources import find_model

HEADING = "Add an encoder family in one file"


@pytest.fixture
def add_module(add_module_to):
    """Puts a file beside the families for as long as the test lasts."""
    return add_module_to(pipeline.modeling.families)


@pytest.fixture(scope="module")
def checkpoint(tiny):
    """A tiny LayoutLM with random weights."""
    folder = tiny.root / "layoutlm"
    tokenizer = BertTokenizerFast.from_pretrained(tiny.folder())
    torch.manual_seed(0)
    config = LayoutLMConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=tiny.depth,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        max_2d_position_embeddings=8,
        initializer_range=0.2,
    )
    LayoutLMModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_example_of_the_guide_is_a_family(add_module, guide, tiny, checkpoint, tmp_path):
    section, block = guide(HEADING)
    (name,) = re.findall(r"Saved as `pipeline/modeling/families/(\w+)\.py`", section)
    assert name not in list_model_types(), "the guide shows something new"
    assert find_model(str(checkpoint)).encoder.family.inferred
    add_module(name, block)
    assert name in list_model_types()
    assert find_model(str(checkpoint)).encoder.family == find_family(name) != find_family("bert")
    for strategy in ("full", "lora", "partial"):
        built = tiny.build(make(strategy), checkpoint, tiny.config())
        parts = {parameter.location.part for parameter in built.parameters.parameters}
        assert parts >= {"embeddings", "layer", "pooler", "head"}
        assert ("added" in parts) == (strategy == "lora"), "every parameter of the family has its place"
        before = snapshot(built.model)
        assert tiny.fit(built, tiny.config(), tmp_path / strategy).steps == 1
        assert moved(before, snapshot(built.model)) == {parameter.name for parameter in built.parameters.trainable}
    (refused,) = re.findall(r"every strategy but (\w+), which is refused", section)
    with pytest.raises(ConfigError, match=f"{refused} cannot work on {name}: its attention takes no past keys and values"):
        tiny.build(make(refused), checkpoint, tiny.config())


def test_a_model_type_has_one_family(add_module) -> None:
    add_module("second", "from pipeline.modeling.families.bert import Bert\n\n\nclass Second(Bert):\n    pass\n")
    with pytest.raises(TypeError, match=r"families\.second and pipeline\.modeling\.families\.bert both describe bert"):
        describe_encoder({"model_type": "bert"}, "mine")


@pytest.mark.parametrize("text", ["", "from pipeline.modeling.families.bert import Bert\n"], ids=["none", "imported"])
def test_a_file_must_hold_one_family(add_module, text: str) -> None:
    add_module("odd", text)
    with pytest.raises(TypeError, match="exactly one family"):
        list_model_types()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("base_prefix", "bert", r"base_prefix is 'bert', and LayoutLMFor.* of transformers has its encoder in 'layoutlm'"),
        ("layers", "encoder.layers", r"layers names layoutlm\.encoder\.layers, and LayoutLMFor.* has no such module"),
        ("pooler", "final_norm", r"pooler names layoutlm\.final_norm, and"),
        ("logits", "classifier.out_proj", r"logits names classifier\.out_proj, and"),
    ],
)
def test_a_name_that_is_not_in_the_model_is_refused_with_the_file(add_module, checkpoint, field, value, message):
    values = {"base_prefix": "layoutlm", field: value}
    lines = [f"    {name} = {value!r}" for name, value in {"model_types": ("layoutlm",), **values}.items()]
    add_module(f"odd_{field}", "\n".join(["from pipeline.modeling.family import Family", "class Odd(Family):", *lines]))
    with pytest.raises(PluginError, match=rf"families\.odd_{field}: Odd\.{message}"):
        check_weights(find_model(str(checkpoint)))
