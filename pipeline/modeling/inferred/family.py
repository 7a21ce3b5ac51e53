"""What is read off a copy of a model, put together as a family.

Parts are told apart by gradients: by what lies below, beside and above the one list of layers. Sizes and settings follow.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING

from pipeline.errors import enumerate_some
from pipeline.failures import is_exhausted
from pipeline.modeling.encoder import EncoderSpec, read_shape
from pipeline.modeling.family import UNLIMITED, Family, find_family, list_model_types
from pipeline.modeling.inferred.probe import (
    CLASSES,
    NotInferredError,
    Probe,
    are_equal,
    changed,
    check_attention,
    check_encoder,
    check_padding,
    check_split,
    make_probe,
    takes_embeddings,
)

_INSIDE = ("query_value", "key_value", "attention", "attention_output", "feed_forward_output")
"""Fields of `Family` that name what is inside a layer. No run tells these apart, so known families do, by the names."""
_NEEDED = {"attention": ("attention",), "bottleneck": _INSIDE[3:], "ia3": ("key_value", *_INSIDE[3:])}
"""Strategies that ask for them."""
_TEXT = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds", "labels")
"""Arguments of a model that are of texts, and given or made."""
_SETTINGS = ("past_key_values", "head_mask", "use_cache", "return_dict", "kwargs")
"""Arguments that are no input; those that begin with `output_` are none either."""


class InferredFamily(Family):
    """A family of one model, as `inferred` says it."""

    @property
    def note(self) -> str:
        """What was inferred, and what is refused."""
        said = {
            "layers in": [self.layers],
            "embeddings in": self.embeddings,
            "shared by all layers:": self.shared,
            "a norm above them:": [self.pooler] if self.pooler_is_norm else [self.final_norm] if self.final_norm else [],
            "pooler:": [self.pooler] if self.pooler and not self.pooler_is_norm else [],
            "classifier in": self.head,
            "not used:": self.inferred["unused"],
            "inputs left at their defaults:": self.inferred["other_inputs"],
            "refused strategies:": self.refused,
        }
        parts = "; ".join(f"{what} {', '.join(names)}" for what, names in said.items() if names)
        return f"no file describes the family {self.model_types[0]}, so it was read off the model: {parts}"


def infer_family(content: Mapping[str, Any], model_type: str) -> Family:
    """The family of the model that a `config.json` describes.

    Raises:
        NotInferredError: It cannot be read off the model, or does not hold when it is tried.
    """
    return _infer(json.dumps(content, sort_keys=True), model_type)


@functools.lru_cache(maxsize=8)  # an encoder is described again and again
def _infer(content: str, model_type: str) -> Family:
    try:
        with torch.inference_mode(False), torch.enable_grad():  # whoever asks
            return _read_off(make_probe(json.loads(content), model_type), json.loads(content), model_type)
    except NotInferredError:
        raise
    except Exception as error:  # whatever a model raises that is not given what it needs
        if is_exhausted(error):
            raise
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise NotInferredError(
            f"a small copy of it does not compute with texts alone, {type(error).__name__}: {reason}"
        ) from error


def _read_off(probe: Probe, content: Mapping[str, Any], model_type: str) -> Family:
    check_attention(probe)
    fields = _find_parts(probe)
    fields |= _measure(probe, fields, CONFIG_MAPPING[model_type].from_dict(dict(content)))
    check_padding(probe, fields["max_positions"])
    family, encoder = _split(probe, model_type, fields)
    check_encoder(probe, encoder)
    return family


def _find_parts(probe: Probe) -> dict[str, Any]:
    """Values of the fields of `Family` that name modules, and of its methods that do.

    A parameter that only the states entering the lowest layer depend on is of the embeddings; one that the logits depend on
    once the states of the top layer are given, of pooler or head; any other outside the layers, shared by these.

    Raises:
        NotInferredError: The parts cannot be told apart.
    """
    prefix, model = probe.model.base_model_prefix, probe.model
    if probe.base is model:
        raise NotInferredError("its classifier is no module around an encoder")
    layers = _find_layers(probe)
    bottom, *_, top = [*model.get_submodule(layers).children()] * 2
    entering, logits = probe.entering(bottom)
    used, below = _reached(model, logits), _reached(model, entering)
    with changed(bottom, _cut, at_entry=True):
        beside = _reached(model, probe.logits())
    with changed(top, _cut):
        above = _reached(model, probe.logits())
    inside = {name for name in used if name.startswith(f"{layers}.")}
    if strays := sorted(below & above | inside & (below | above)):
        raise NotInferredError(f"{enumerate_some(strays, 2)} is used in more than one part")
    encoder = {name for name in above if name.startswith(f"{prefix}.")}
    head = tuple(dict.fromkeys(name.partition(".")[0] for name in _largest_modules(model, above - encoder, used)))
    classifier = _find_logits(probe, head)

    def within(names: set[str]) -> list[str]:
        return [name.removeprefix(f"{prefix}.") for name in _largest_modules(model, names, used)]

    return {
        "base_prefix": prefix,
        "embeddings": tuple(within(below - beside)),
        "layers": layers.removeprefix(f"{prefix}."),
        "layers_return_tuples": isinstance(probe.trace({"": top})[0].returned, tuple),
        "shared": tuple(within(beside - above - inside)),
        **_tell_norm_from_pooler(probe, within(encoder)),
        "head": head,
        "logits": classifier,
        "linear_head": above - encoder <= {f"{classifier}.weight", f"{classifier}.bias"},
        "reads_first_token": _reads_first_token(probe, top),
        "unused": _name_unused(model, used),
    }


def _find_layers(probe: Probe) -> str:
    """Full name of the one list of modules of one class that holds as many as the model has layers."""
    depth = probe.model.config.num_hidden_layers
    lists: dict[str, nn.ModuleList] = {
        name: module
        for name, module in probe.model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth and len({type(child) for child in module}) == 1
    }
    outer = sorted(name for name in lists if not any(name.startswith(f"{other}.") for other in lists))
    if len(outer) != 1:
        raise NotInferredError(
            f"it has {f'several lists of layers ({enumerate_some(outer, 4)})' if outer else 'no list of layers'}"
        )
    calls = probe.trace(dict(lists[outer[0]].named_children()))
    if [call.name for call in calls] != [str(number) for number in range(depth)]:
        raise NotInferredError(f"its layers ({outer[0]}) are not called once each, one after the other")
    return outer[0]


def _cut(states: torch.Tensor) -> torch.Tensor:
    return states.detach().requires_grad_()


def _reached(model: nn.Module, result: torch.Tensor) -> set[str]:
    """Names of the parameters that a result depends on."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(result.sum(), list(named.values()), allow_unused=True, retain_graph=True)
    return {name for name, gradient in zip(named, gradients, strict=True) if gradient is not None}


def _largest_modules(model: nn.Module, wanted: Collection[str], used: Collection[str], prefix: str = "") -> Iterator[str]:
    """Full names of the largest modules whose used parameters are all wanted ones; together they hold all of these."""
    for name, _ in model.named_parameters(recurse=False):
        if f"{prefix}{name}" in wanted:
            raise NotInferredError(f"its parameter {prefix}{name} stands beside modules, in none of them")
    for name, child in model.named_children():
        own = {f"{prefix}{name}.{inner}" for inner, _ in child.named_parameters()}.intersection(used)
        if own and own.issubset(wanted):
            yield f"{prefix}{name}"
        elif not own.isdisjoint(wanted):
            yield from _largest_modules(child, wanted, used, f"{prefix}{name}.")


def _tell_norm_from_pooler(probe: Probe, names: list[str]) -> dict[str, Any]:
    """Which of the modules between layers and head is a norm that all tokens pass, and which a pooler of one vector a text."""
    returned = {call.name: call.returned for call in probe.trace({name: probe.base.get_submodule(name) for name in names})}
    shape = probe.states().shape
    norms = [name for name in names if isinstance(returned.get(name), torch.Tensor) and returned[name].shape == shape]
    poolers = [name for name in names if name not in norms]
    if len(norms) > 1 or len(poolers) > 1:
        raise NotInferredError(
            f"{enumerate_some(names, 4)} stand between its layers and its classifier, more than a norm and a pooler"
        )
    pooler, norm = next(iter(poolers), None), next(iter(norms), None)
    return {"pooler": pooler or norm, "pooler_is_norm": not pooler and bool(norm), "final_norm": norm if pooler else None}


def _find_logits(probe: Probe, head: tuple[str, ...]) -> str:
    """The linear layer of the head that puts out the logits."""
    linear = {
        name: module
        for name, module in probe.model.named_modules()
        if name.partition(".")[0] in head and isinstance(module, nn.Linear) and module.out_features == CLASSES
    }
    expected = probe.logits()
    found = [call.name for call in probe.trace(linear) if are_equal(call.returned, expected)]
    if len(found) != 1:
        raise NotInferredError("its logits are not what one linear layer makes of one vector a text")
    return found[0]


def _reads_first_token(probe: Probe, top: nn.Module) -> bool:
    """Whether the logits stay as they are while all states of the top layer but the first are exchanged."""
    expected = probe.logits()
    with changed(top, lambda states: torch.cat([states[:, :1], states[:, 1:].flip(0, 2)], dim=1)):
        return are_equal(probe.logits(), expected)


def _name_unused(model: nn.Module, used: Collection[str]) -> tuple[str, ...]:
    """Names of modules that the logits do not depend on; nothing else has these names."""
    taken, found = {component for name in used for component in name.split(".")}, dict[str, None]()
    for name, _ in model.named_parameters():
        if name not in used and found.keys().isdisjoint(name.split(".")):
            free = [component for component in name.split(".") if component not in taken]
            if not free:
                raise NotInferredError(f"its logits do not depend on {name}")
            found[free[0]] = None
    return tuple(found)


def _measure(probe: Probe, parts: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Linear layers, sizes and settings, and the strategies that cannot be sure of their parts."""
    model, hidden = probe.model, int(config.hidden_size)
    top = probe.base.get_submodule(f"{parts['layers']}.{model.config.num_hidden_layers - 1}")
    linear = {name: module for name, module in top.named_modules() if isinstance(module, nn.Linear)}
    if not linear:
        raise NotInferredError("its layers have no linear layers, on which adapters stand")
    pooler = probe.base.get_submodule(parts["pooler"]) if parts["pooler"] else nn.Identity()
    above = [name for name, module in pooler.named_modules(prefix=parts["pooler"] or "") if isinstance(module, nn.Linear)]
    weights = sum(module.weight.numel() for module in linear.values())
    widths = {module.in_features for module in linear.values() if module.out_features == hidden}
    sizes = {value: name for name, value in config.to_dict().items() if isinstance(value, int) and value in widths}
    width = max([hidden, *sizes])
    inside = _name_inside(top, linear)
    unsure = "which parts of a layer it would change is not known"
    refused = {name: unsure for name, needed in _NEEDED.items() if not all(inside[field] for field in needed)}
    if not takes_embeddings(probe):
        refused |= dict.fromkeys(("prompt", "ptuning"), "it takes no embeddings in the place of tokens")
    arguments = [name for name in inspect.signature(model.forward).parameters if name not in (*_TEXT, *_SETTINGS)]
    holders = [f"{name}." for name in (*parts["embeddings"], parts["layers"], parts["pooler"], parts["final_norm"]) if name]
    return {
        **inside,
        "linear": tuple(dict.fromkeys(name.rpartition(".")[2] for name in (*linear, *above))),
        "layer_weights": weights,
        "feed_forward_matrices": max(1, round((weights - 4 * hidden**2) / (hidden * width))),
        "intermediate_size": sizes.get(width, "hidden_size"),
        "dropouts": probe.dropouts,
        "has_biases": any(
            name.endswith("bias") and name.startswith(tuple(holders)) for name, _ in probe.base.named_parameters()
        ),
        "max_positions": _count_positions(probe, parts["embeddings"], config),
        "other_inputs": [name for name in arguments if not name.startswith("output_")],
        "refused": {"prefix": "whether its attention takes past keys and values is not known", **refused},
    }


def _name_inside(layer: nn.Module, linear: Collection[str]) -> dict[str, Any]:
    """`_INSIDE` as all known families say it whose names are those of this layer; empty where none are, or they differ."""
    components = {component for name, _ in layer.named_modules() for component in name.split(".")}
    lasts, alike = [name.rpartition(".")[2] for name in linear], []
    for family in filter(None, map(find_family, list_model_types())):
        behind_attention = [name for name in linear if name.endswith(family.attention_output)]
        at_end = [name for name in linear if name.endswith(family.feed_forward_output) and name not in behind_attention]
        if (
            all(lasts.count(name) == 1 for name in (*family.query_value, *family.key_value))
            and len(behind_attention) == len(at_end) == 1
            and components.issuperset(family.attention)
            and set(lasts) <= set(family.linear)
        ):
            alike.append(family)
    values = {field: {getattr(family, field) for family in alike} for field in _INSIDE}
    return {
        field: found.pop() if len(found) == 1 else "" if field.endswith("output") else () for field, found in values.items()
    }


def _count_positions(probe: Probe, embeddings: Collection[str], config: Any) -> int:
    """Tokens that the table of positions reaches, which may begin above its first row; or as many as the config says."""
    configured = 0
    with contextlib.suppress(AttributeError, NotImplementedError):  # XLNet's config raises the latter, or says -1
        configured = int(config.max_position_embeddings or 0)
    longest = configured if configured > 0 else UNLIMITED
    tables = {
        name: module
        for name, module in probe.base.named_modules()
        if isinstance(module, nn.Embedding) and name.startswith(tuple(embeddings))
    }
    length = probe.inputs["input_ids"].shape[1]
    for call in probe.trace(tables):
        rows = call.given[0].reshape(-1)[:length]
        if len(rows) == length and bool((rows.diff() == 1).all()):
            longest = min(longest, tables[call.name].num_embeddings - int(rows[0]))
    return longest


def _split(probe: Probe, model_type: str, fields: Mapping[str, Any]) -> tuple[Family, EncoderSpec]:
    """The family, and the copy as it describes it, which was cut by that description."""
    attributes: tuple[str, ...] = ()
    while True:
        family = _make(model_type, {**fields, "layer_attributes": attributes})
        encoder = read_shape(probe.content, model_type, model_type, family)
        try:
            check_split(probe, encoder)
        except AttributeError as error:  # of what stands in for a layer: the model reads more off one than it computes
            if error.name is None or error.name in attributes:
                raise
            attributes += (error.name,)
        else:
            return family, encoder


def _make(model_type: str, fields: Mapping[str, Any]) -> Family:
    """A class with these fields; in the place of methods, what returns the value whatever the config."""
    own = {name: _always(value) if inspect.isfunction(getattr(Family, name, None)) else value for name, value in fields.items()}
    made: type[Family] = type("Inferred", (InferredFamily,), {**own, "model_types": (model_type,), "inferred": fields})
    return made()


def _always(value: Any) -> Callable[[Family, Any], Any]:
    return lambda _family, _config: value
