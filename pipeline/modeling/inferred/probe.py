"""A copy of a model with few layers and random weights, which is run on two short texts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

DROPOUT = 0.25
"""Every dropout probability of the copy, which only training uses."""
CLASSES = 3
SHORTER = 7
"""Tokens of the second text."""
_LENGTH, _LAYERS, _VOCABULARY = 12, 3, 64  # that many tokens beside those that the config names
_LARGEST = 500_000_000  # parameters
_TOLERANCE = 1e-5  # of logits around 1 in float32; what padding does to ConvBERT is a hundred times that


class NotInferredError(Exception):
    """Why a family cannot be read off a model, as in "architecture 'gpt2' is not supported: ..., for REASON."."""


class Call(NamedTuple):
    """One module that was called."""

    name: str
    given: tuple[Any, ...]
    returned: Any


@dataclass(frozen=True)
class Probe:
    """The copy, and what it is given."""

    content: dict[str, Any]
    """Its `config.json`."""
    dropouts: tuple[str, ...]
    """Names in it of the dropout probabilities."""
    model: PreTrainedModel
    inputs: dict[str, torch.Tensor]
    """Two texts, the second of them padded: shape [2, length]."""

    @property
    def base(self) -> nn.Module:
        """The encoder."""
        base: nn.Module = self.model.base_model
        return base

    def logits(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Of the two texts, or of other inputs; shape [texts, classes]."""
        logits: torch.Tensor = self.model(**inputs or self.inputs).logits
        return logits

    def states(self, **inputs: torch.Tensor) -> torch.Tensor:
        """What the encoder makes of them; shape [texts, length, hidden]."""
        states: torch.Tensor = self.base(**inputs or self.inputs, return_dict=True).last_hidden_state
        return states

    def entering(self, module: nn.Module, **inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The states that a module is given on the way to the logits, and these."""
        seen: list[torch.Tensor] = []

        def keep(states: torch.Tensor) -> torch.Tensor:
            seen.append(states)
            return states

        with changed(module, keep, at_entry=True):
            logits = self.logits(**inputs)
        return seen[0], logits

    def trace(self, modules: Mapping[str, nn.Module]) -> list[Call]:
        """Calls of these modules as the logits are computed, in the order in which they ended."""
        calls: list[Call] = []

        def note(name: str) -> Callable[..., None]:
            return lambda _module, given, returned: calls.append(Call(name, given, returned))

        hooks = [module.register_forward_hook(note(name)) for name, module in modules.items()]
        self.logits()
        for hook in hooks:
            hook.remove()
        return calls


def make_probe(content: Mapping[str, Any], model_type: str) -> Probe:
    """The copy of the model that a `config.json` describes: as wide, with fewer layers and tokens.

    Raises:
        NotInferredError: There is no text classifier of that type, or none that can be copied so.
    """
    if model_type not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise NotInferredError("transformers has no text classifier of that type")
    config_class = CONFIG_MAPPING[model_type]
    config, aliases = config_class.from_dict(dict(content)), config_class.attribute_map
    if config.is_encoder_decoder:
        raise NotInferredError("it is an encoder with a decoder")
    depth, tokens = getattr(config, "num_hidden_layers", None), getattr(config, "vocab_size", None)
    if not isinstance(depth, int) or not isinstance(tokens, int) or min(depth, tokens) < 1:
        raise NotInferredError("its config does not say how many layers and tokens it has")
    layers = min(depth, _LAYERS)
    settings = config.to_dict()
    dropouts = tuple(name for name, value in settings.items() if _is_dropout(name, value))
    special = [value for name, value in settings.items() if name.endswith("token_id") and isinstance(value, int)]
    small = {
        **{
            name: value[:layers] if isinstance(value, list) and len(value) == depth else value
            for name, value in settings.items()
        },
        **dict.fromkeys(dropouts, DROPOUT),
        aliases.get("num_hidden_layers", "num_hidden_layers"): layers,
        aliases.get("vocab_size", "vocab_size"): min(tokens, max([0, *special]) + _VOCABULARY),
        "num_labels": CLASSES,
        "use_cache": False,  # of which decoders would want more layers
    }
    small = {name: value for name, value in small.items() if name not in ("id2label", "label2id", "problem_type", "dtype")}
    classifier = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[config_class]
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in classifier(config_class.from_dict(dict(small))).parameters())
    if size > _LARGEST:
        raise NotInferredError(f"a copy with {layers} layers has {size:,} parameters, too many to try it")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = classifier(config_class.from_dict(dict(small))).eval()
        _fill(model)
        return Probe(small, dropouts, model, _draw_texts(model.config, special))


def _is_dropout(name: str, value: object) -> bool:
    """Whether a setting is a probability of dropout, which may be None; those of leaving out layers are not."""
    is_number = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
    return is_number and "drop" in name and "layerdrop" not in name and "path" not in name


@torch.no_grad()
def _fill(model: nn.Module) -> None:
    """Draw all that trains: transformers leaves biases and the embedding of padding at zero, and norms at one."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.uniform_(-1, 1).mul_(math.sqrt(3 / parameter.shape[-1]))
        elif parameter.requires_grad:
            parameter.add_(torch.empty_like(parameter).uniform_(-0.2, 0.2))


def _draw_texts(config: Any, special: Sequence[int]) -> dict[str, torch.Tensor]:
    usual = torch.tensor([token for token in range(config.vocab_size) if token not in special])
    ids = usual[torch.randint(len(usual), (2, _LENGTH))]
    mask = torch.ones_like(ids)
    mask[1, SHORTER:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, getattr(config, "pad_token_id", None) or 0), "attention_mask": mask}


def are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two results differ by rounding alone."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE)


@contextlib.contextmanager
def changed(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor], *, at_entry: bool = False) -> Iterator[None]:
    """Within the block `change` is applied to the states that a module returns, by itself or first of a tuple, or is given."""

    def before(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if given:
            return (change(given[0]), *given[1:]), named
        return given, named | {"hidden_states": change(named["hidden_states"])}

    def after(_module: nn.Module, _given: object, returned: Any) -> Any:
        return (change(returned[0]), *returned[1:]) if isinstance(returned, tuple) else change(returned)

    hook = module.register_forward_pre_hook(before, with_kwargs=True) if at_entry else module.register_forward_hook(after)
    try:
        yield
    finally:
        hook.remove()
