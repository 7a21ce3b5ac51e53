"""Where a parameter stood in the model before peft and parametrizations wrapped it, and what a strategy put in beside."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from pipeline.modeling.encoder import Encoder, Place

if TYPE_CHECKING:
    from torch import nn


def parameter_names(model: nn.Module) -> frozenset[str]:
    """Names of all parameters of a model, as `model.named_parameters()` calls them."""
    return frozenset(name for name, _ in model.named_parameters())


def locate(model: nn.Module, own_names: Collection[str], encoder: Encoder) -> dict[str, Place]:
    """Name -> place of the parameters of a model that a strategy has adapted, seen through what now stands around them.

    What was in the model before is found behind the wrappers of peft and of torch's parametrizations; all else is `added`,
    whatever it is called. `spare`, which nothing selects, are the untouched classifier that peft keeps beside the copy that
    trains, and what the strategy put in without a gradient, such as the rank that AdaLoRA counts.

    Args:
        own_names: `parameter_names` of the model before.

    Raises:
        TypeError: A parameter of the model is found no more, so what stands in its place would train as if it were new.
    """
    parameters = dict(model.named_parameters())
    outer = _outer_name(parameters, own_names)
    places = {}
    found: set[str] = set()
    for name, parameter in parameters.items():
        inner = name.removeprefix(outer)
        plain = _without_wrappers(inner)
        if ".original_module." in inner:
            places[name] = Place(plain, "spare")
            found.add(plain)
        elif plain in own_names:
            places[name] = encoder.place(plain)
            found.add(plain)
        else:
            places[name] = Place(inner, "added" if parameter.requires_grad else "spare")
    if lost := sorted(set(own_names) - found):
        raise TypeError(f"The strategy has hidden {lost[0]} of the model. A wrapper holds the module it wraps as `base_layer`.")
    return places


def _outer_name(names: Collection[str], own_names: Collection[str]) -> str:
    """What peft puts before the names of the model that it wraps: the longer around adapters, the other around virtual tokens.

    ModernBERT's own names begin with `model.`, too, so a name alone does not tell.
    """
    for outer in ("base_model.model.", "base_model."):
        if any(name.startswith(outer) and _without_wrappers(name.removeprefix(outer)) in own_names for name in names):
            return outer
    return ""


def _without_wrappers(inner: str) -> str:
    """The name that a parameter had before a module of it was wrapped; without sense for one that was not there."""
    plain = re.sub(r"\.modules_to_save\.[^.]+\.", ".", inner.replace(".original_module.", "."))
    plain = re.sub(r"\.parametrizations\.(\w+)\.original$", r".\1", plain)
    return plain.replace(".base_layer.", ".")
