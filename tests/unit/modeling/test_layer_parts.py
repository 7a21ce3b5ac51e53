"""The names inside a layer are names that the families have."""

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

from pipeline.modeling.encoder import ARCHITECTURES, LAYER_PARTS


def test_every_architecture_is_described() -> None:
    assert set(LAYER_PARTS) == set(ARCHITECTURES)


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_the_names_are_in_the_model(model_type: str) -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(CONFIG_MAPPING[model_type]())
    prefix = ARCHITECTURES[model_type].layers + "."
    linear = {
        n.removeprefix(prefix) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n.startswith(prefix)
    }
    parts = LAYER_PARTS[model_type]
    first = {name for name in linear if name.startswith("1." if model_type != "albert" else "0.")}
    for names in (parts.query_value, parts.key_value):
        assert set(names) <= set(ARCHITECTURES[model_type].linear)
        assert {name.rpartition(".")[2] for name in first} >= set(names)
    in_attention = {name for name in first if not set(parts.attention).isdisjoint(name.split("."))}
    assert {name for name in first if name.endswith(parts.attention_output)} <= in_attention
    assert len([name for name in first if name.endswith(parts.attention_output)]) == 1
    outside = [name for name in first - in_attention if name.endswith(parts.feed_forward_output)]
    assert len(outside) == 1
