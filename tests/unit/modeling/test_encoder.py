"""Where the parts of an architecture are, seen through peft's wrappers, too."""

import pytest

from pipeline.errors import ModelError
from pipeline.modeling.encoder import ARCHITECTURES, Place, describe_encoder
from pipeline.strategies.base import import_peft
from pipeline.strategies.freezing import locate
from pipeline.strategies.registry import create_strategy


@pytest.fixture
def bert():
    return describe_encoder({"model_type": "bert", "num_hidden_layers": 12}, "bert-base-uncased")


@pytest.mark.parametrize(
    ("parameter", "part", "layer"),
    [
        ("bert.embeddings.word_embeddings.weight", "embeddings", None),
        ("bert.encoder.layer.0.attention.self.query.weight", "layer", 0),
        ("bert.encoder.layer.11.output.LayerNorm.bias", "layer", 11),
        ("bert.pooler.dense.weight", "pooler", None),
        ("classifier.bias", "head", None),
        ("classifier2.bias", "added", None),
        ("bert.encoder.layerx.weight", "added", None),
    ],
)
def test_the_place_of_a_parameter(bert, parameter, part, layer):
    assert bert.place(parameter) == Place(parameter, part, layer)


@pytest.mark.parametrize(
    ("wrapped", "plain", "part", "layer"),
    [
        ("classifier.weight", "classifier.weight", "head", None),
        ("base_model.model.classifier.modules_to_save.default.weight", "classifier.weight", "head", None),
        ("base_model.model.classifier.original_module.weight", "classifier.weight", "spare", None),
        ("base_model.classifier.modules_to_save.default.bias", "classifier.bias", "head", None),
        ("base_model.model.bert.pooler.dense.base_layer.weight", "bert.pooler.dense.weight", "pooler", None),
        (
            "base_model.model.bert.encoder.layer.3.output.dense.base_layer.bias",
            "bert.encoder.layer.3.output.dense.bias",
            "layer",
            3,
        ),
    ],
)
def test_wrappers_do_not_hide_a_place(bert, wrapped, plain, part, layer):
    assert locate(wrapped, bert) == Place(plain, part, layer)


def test_real_adapters_are_added_and_all_else_keeps_its_place(tiny):
    plain = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config())
    expected = {p.place for p in plain.parameters.parameters}
    for name in ("lora", "prefix"):
        built = tiny.build(create_strategy(name, {}), tiny.folder(), tiny.config())
        assert type(built.model).__module__.startswith(import_peft().__name__)
        places = [parameter.place for parameter in built.parameters.parameters]
        assert sum(place.part == "added" for place in places) > 0
        assert {place for place in places if place.part not in ("added", "spare")} == expected
        assert {place.name for place in places if place.part == "spare"} == {"classifier.weight", "classifier.bias"}


def test_lora_can_reach_every_linear_layer_of_each_architecture(tiny, family):
    import torch

    built = tiny.build(create_strategy("full", {}), tiny.folder(family), tiny.config())
    linear = {
        name.rpartition(".")[2]
        for name, module in built.model.named_modules()
        if isinstance(module, torch.nn.Linear) and built.context.encoder.place(f"{name}.weight").part != "head"
    }
    assert linear == set(built.context.encoder.architecture.linear)


@pytest.mark.parametrize("config", [{}, {"model_type": "gpt2"}, {"model_type": None}], ids=str)
def test_an_unknown_architecture_is_refused_by_name(config):
    with pytest.raises(ModelError, match=rf"--model mine: architecture .* not supported\. Supported: .*{min(ARCHITECTURES)}"):
        describe_encoder(config, "mine")


def test_a_shape_must_be_numbers():
    with pytest.raises(ModelError, match="not a number"):
        describe_encoder({"model_type": "bert", "num_hidden_layers": "twelve"}, "mine")
