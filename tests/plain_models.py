"""What transformers' own models are like, family by family: the expected values that no family's file declares."""

import functools
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, AutoModelForSequenceClassification

LAYERS = 4

UNLIKE = ("albert", "bert", "deberta-v2", "distilbert", "modernbert", "roberta")
"""Families built unlike: shared layers, a pooler, what all layers share, no pooler, no biases, positions after padding."""


def in_tiers(families: Iterable[str]) -> list[Any]:
    """Parameters of a test that every family repeats: those of `UNLIKE` in `make test`, the others in `make test-all`."""
    return [pytest.param(family, marks=() if family in UNLIKE else pytest.mark.slow) for family in families]


_DEBERTA = {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}
PUBLISHED: dict[str, dict[str, Any]] = {
    "deberta": _DEBERTA,
    "deberta-v2": {
        **_DEBERTA,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "conv_kernel_size": 3,
        "conv_act": "gelu",
    },
}
"""What published models have that transformers' defaults have not."""


def published_config(model_type: str, **changes: Any) -> Any:
    """The config of a model of the usual size."""
    return CONFIG_MAPPING[model_type](**PUBLISHED.get(model_type, {}) | changes)


@functools.cache
def plain_model(model_type: str) -> torch.nn.Module:
    """The classification model of four layers, without weights."""
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(published_config(model_type, num_hidden_layers=LAYERS))


def encoder_takes(model_type: str, argument: str) -> bool:
    """Whether the encoder's forward has an argument of that name."""
    return argument in inspect.signature(plain_model(model_type).base_model.forward).parameters


def has_pooler(model_type: str) -> bool:
    """Whether the classifier stands on a pooler: one with a hidden layer of its own does not, though there may be one."""
    return getattr(plain_model(model_type).base_model, "pooler", None) is not None and has_linear_head(model_type)


def has_final_norm(model_type: str) -> bool:
    """Whether a norm stands between the top layer and whatever reads it, beside the list of layers or what holds it."""
    modules = dict(plain_model(model_type).base_model.named_modules())
    length = {name: len(module) for name, module in modules.items() if isinstance(module, torch.nn.ModuleList)}
    holders = {"", max(length, key=lambda name: length[name]).rpartition(".")[0]}
    holders = {name for name in holders if not hasattr(modules[name], "rel_embeddings")}  # whose norm the table passes
    return any(type(module).__name__.endswith("Norm") for holder in holders for module in modules[holder].children())


def shares_layers(model_type: str) -> bool:
    """Whether the longest list of modules is shorter than the model is deep."""
    return max(len(module) for module in plain_model(model_type).modules() if isinstance(module, torch.nn.ModuleList)) < LAYERS


def has_biases(model_type: str) -> bool:
    """Whether any part of the encoder has a bias."""
    return any(name.endswith(".bias") for name, _ in plain_model(model_type).base_model.named_parameters())


def has_linear_head(model_type: str) -> bool:
    """Whether one weight and one bias are all that stands outside the encoder."""
    model = plain_model(model_type)
    return len([name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")]) == 2


def tells_segments(folder: Path) -> bool:
    """Whether the embeddings of a checkpoint hold more than one kind of segment."""
    with torch.device("meta"):
        tables = AutoModel.from_config(AutoConfig.from_pretrained(folder)).named_modules()
    return any(name.endswith("token_type_embeddings") and table.num_embeddings > 1 for name, table in tables)


def position_tables(model_type: str) -> list[str]:
    """Names of the tables of positions, of which a text can be too long."""
    modules = plain_model(model_type).named_modules()
    return [name for name, module in modules if isinstance(module, torch.nn.Embedding) and "position" in name]
