"""Where a model has its parts: its one list of layers, and by gradients what is below, beside and above it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn

from pipeline.errors import enumerate_some
from pipeline.modeling.inferred.probe import CLASSES, NotInferredError, Probe, are_equal, changed


def find_parts(probe: Probe) -> dict[str, Any]:
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
