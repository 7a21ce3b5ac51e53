"""A copy of a model with few layers and random weights, run on two short texts, and what must hold of it.

What is read off the copy is believed once every `check_...` has passed.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from pipeline.modeling.encoder import EncoderSpec
from pipeline.modeling.split_model import SplitModel

_DROPOUT = 0.25
"""Every dropout probability of the copy, which only training uses."""
CLASSES = 3
_SHORTER = 7
"""Tokens of the second text."""
_LONGEST = 256
"""Tokens of the longest text that is tried."""
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
        **dict.fromkeys(dropouts, _DROPOUT),
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
    mask[1, _SHORTER:] = 0
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


def check_attention(probe: Probe) -> None:
    """Every token sees those before it and those after it."""
    ids, expected, seen = probe.inputs["input_ids"], probe.states(), []
    for position, rest in ((0, slice(1, None)), (-1, slice(None, -1))):
        other = ids.clone()
        other[0, position] = next(token for token in ids[0] if token != ids[0, position])
        seen.append(not are_equal(probe.states(**probe.inputs | {"input_ids": other})[0, rest], expected[0, rest]))
    if seen == [True, False]:
        raise NotInferredError("its tokens see none of those after them, as in a decoder, which classifies by the last one")
    if not all(seen):
        raise NotInferredError("its tokens do not see one another")


def check_padding(probe: Probe, longest: int) -> None:
    """A text's states and logits are the same alone and beside a long one."""
    length = min(longest, _LONGEST)
    text, pad = probe.inputs["input_ids"][1:, :_SHORTER], int(probe.inputs["input_ids"][1, -1])
    ids = probe.inputs["input_ids"][:1].repeat(2, length)[:, :length]
    ids[1, :_SHORTER], ids[1, _SHORTER:] = text[0], pad
    mask = torch.ones_like(ids)
    mask[1, _SHORTER:] = 0
    together, alone = {"input_ids": ids, "attention_mask": mask}, {"input_ids": text, "attention_mask": torch.ones_like(text)}
    logits = probe.logits(**together)
    if not torch.isfinite(logits).all() or are_equal(logits[:1], logits[1:]):
        raise NotInferredError("its logits do not depend on the text, or are no numbers")
    same_states = are_equal(probe.states(**together)[1:, :_SHORTER], probe.states(**alone))
    if not (same_states and are_equal(logits[1:], probe.logits(**alone))):
        raise NotInferredError("padding changes its logits, so a prediction would depend on the texts that share a batch")


def check_split(probe: Probe, encoder: EncoderSpec) -> None:
    """Above a cut, the model computes from the states below what it computes as a whole; in training they enter unchanged."""
    if "inputs_embeds" not in inspect.signature(probe.base.forward).parameters:
        raise NotInferredError("it takes nothing in the place of token ids, so that layers cannot be computed by themselves")
    whole, mask = probe.logits(), probe.inputs["attention_mask"]
    for layer in range(1, encoder.depth + 1):
        split_model = SplitModel(probe.model, encoder, layer)
        states = split_model.run_lower(**probe.inputs)
        given = {"inputs_embeds": states, "attention_mask": mask[:, : states.shape[1]]}
        with split_model.upper_only():
            if not are_equal(probe.logits(**given), whole):
                raise NotInferredError(f"computed on from the states of its {layer} lowest layers, its logits are others")
            if layer < encoder.depth:
                probe.model.train()
                entering, _ = probe.entering(probe.model.get_submodule(f"{encoder.layers}.{layer}"), **given)
                probe.model.eval()
                if not torch.equal(entering, states):
                    raise NotInferredError("in training, frozen states change before they enter a layer, as by dropout")


def check_encoder(probe: Probe, encoder: EncoderSpec) -> None:
    """Whatever else is done with a model: dropout, rows of the table, pairs of texts, half precision, other heads.

    Afterwards the copy has no pooler.
    """
    others = [name for name, module in probe.model.named_modules() if isinstance(module, nn.Dropout) and module.p != _DROPOUT]
    if others:
        raise NotInferredError(f"no setting of its config is the dropout of {others[0]}")
    table = probe.model.get_input_embeddings()
    named = [name for name, module in probe.model.named_modules() if module is table and isinstance(module, nn.Embedding)]
    if not named or encoder.locate(f"{named[0]}.weight").part != "embeddings":
        raise NotInferredError("its embeddings of tokens are not one table below the layers")
    if encoder.tells_segments:
        kinds = torch.zeros_like(probe.inputs["input_ids"])
        if not are_equal(probe.logits(**probe.inputs, token_type_ids=kinds), probe.logits()):
            raise NotInferredError("token types of zero change its logits")
    with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
        probe.model(**probe.inputs, labels=torch.tensor([0, 1])).loss.backward()
    if not all(torch.isfinite(each.grad).all() for each in probe.model.parameters() if each.grad is not None):
        raise NotInferredError("its gradients in bfloat16 are no numbers")
    if encoder.pooler and not encoder.family.pooler_is_norm:
        probe.model.set_submodule(encoder.pooler, nn.Identity())
    split_model, whole = SplitModel(probe.model, replace(encoder, reads_first_token=False), encoder.depth), probe.states()
    states = split_model.run_lower(**probe.inputs)
    with split_model.upper_only():
        if not are_equal(probe.states(inputs_embeds=states, attention_mask=probe.inputs["attention_mask"]), whole):
            raise NotInferredError("another head would be given other states")


def takes_embeddings(probe: Probe) -> bool:
    """Whether embeddings of tokens can be given in the place of these, as virtual tokens are."""
    embeds = probe.model.get_input_embeddings()(probe.inputs["input_ids"])
    try:
        logits = probe.logits(inputs_embeds=embeds, attention_mask=probe.inputs["attention_mask"])
    except Exception:  # whatever a model raises that looks at its token ids
        return False
    return are_equal(logits, probe.logits())
