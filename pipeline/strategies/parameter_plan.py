"""The parameter plan: phases resolved against a model, with names as they were before peft wrapped them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, PluginError, enumerate_some
from pipeline.modeling.encoder import EncoderSpec, ParameterLocation
from pipeline.strategies.freezing import Phase, describe_selector, required_selectors

if TYPE_CHECKING:
    from torch import nn


def parameter_names(model: nn.Module) -> frozenset[str]:
    """Names of all parameters of a model, as `model.named_parameters()` calls them."""
    return frozenset(name for name, _ in model.named_parameters())


def locate(model: nn.Module, own_names: Collection[str], encoder: EncoderSpec) -> dict[str, ParameterLocation]:
    """Name -> place of the parameters of a model that a strategy has adapted, seen through what now stands around them.

    What was in the model before is found behind the wrappers of peft and of torch's parametrizations; all else is `added`,
    whatever it is called. `unused`, which nothing selects, are the untouched classifier that peft keeps beside the copy that
    trains, and what the strategy put in without a gradient, such as the rank that AdaLoRA counts.

    Args:
        own_names: `parameter_names` of the model before.

    Raises:
        PluginError: A parameter of the model is found no more, so what stands in its place would train as if it were new.
    """
    parameters = dict(model.named_parameters())
    outer = _outer_name(parameters, own_names)
    locations = {}
    located: set[str] = set()
    for name, parameter in parameters.items():
        inner = name.removeprefix(outer)
        plain = _without_wrappers(inner)
        if ".original_module." in inner:
            locations[name] = ParameterLocation(plain, "unused")
            located.add(plain)
        elif plain in own_names:
            locations[name] = encoder.locate(plain)
            located.add(plain)
        else:
            locations[name] = ParameterLocation(inner, "added" if parameter.requires_grad else "unused")
    if lost := sorted(set(own_names) - located):
        raise PluginError(
            f"The strategy has hidden {lost[0]} of the model. A wrapper holds the module it wraps as `base_layer`."
        )
    return locations


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


@dataclass(frozen=True)
class PlannedParameter:
    """One parameter of the model that trains, with its factor of the learning rate in each phase."""

    name: str
    """As `model.named_parameters()` calls it."""
    location: ParameterLocation
    shape: tuple[int, ...]
    lr_multipliers: tuple[float, ...]

    @property
    def trains(self) -> bool:
        """Whether it trains in any phase."""
        return any(lr_multiplier > 0 for lr_multiplier in self.lr_multipliers)

    @property
    def size(self) -> int:
        """Number of weights."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True)
class ParameterPlan:
    """Every parameter of a model, and which of them train when."""

    parameters: tuple[PlannedParameter, ...]
    start_epochs: tuple[int, ...]

    @property
    def trainable(self) -> tuple[PlannedParameter, ...]:
        """The parameters that train in any phase."""
        return tuple(parameter for parameter in self.parameters if parameter.trains)

    @property
    def saved(self) -> tuple[PlannedParameter, ...]:
        """What makes the model up again from its base: all that trains, and the head even where a part of it stays frozen."""
        return tuple(parameter for parameter in self.parameters if parameter.trains or parameter.location.part == "head")

    @property
    def trainable_count(self) -> int:
        """Number of weights that train in any phase."""
        return sum(parameter.size for parameter in self.trainable)

    @property
    def total_count(self) -> int:
        """Number of weights of the model as it trains, adapters and peft's copy of the classifier included."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def trainable_percent(self) -> float:
        """`trainable_count` in percent of `total_count`."""
        return 100 * self.trainable_count / self.total_count

    def phase_of(self, epoch: int) -> int:
        """Index of the phase that governs an epoch."""
        return max(index for index, start in enumerate(self.start_epochs) if start <= epoch)

    def lowest_layer(self, encoder: EncoderSpec, phase: int) -> int:
        """The lowest layer that has trained by the end of `phase`, counted from 0; the depth where none has.

        Whatever is below it is as it was loaded. Embeddings, and what is added outside the layers, count as layer 0; so do
        layers that share weights, because what trains above is used below, too.
        """
        lowest = encoder.depth
        for parameter in self.parameters:
            if any(lr_multiplier > 0 for lr_multiplier in parameter.lr_multipliers[: phase + 1]):
                lowest = min(lowest, _first_use(parameter.location, encoder))
        return 0 if encoder.shares_layers and lowest < encoder.depth else lowest

    def enter_phase(self, model: nn.Module, phase: int) -> None:
        """Set `requires_grad` on every parameter of `model` as the phase says."""
        trains = {parameter.name: parameter.lr_multipliers[phase] > 0 for parameter in self.parameters}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trains[name])


def plan_parameters(
    model: nn.Module,
    encoder: EncoderSpec,
    phases: Sequence[Phase],
    own_names: Collection[str],
    newly_initialised: Collection[str] = (),
) -> ParameterPlan:
    """Resolve a strategy's phases against the parameters of the model that it has adapted.

    Args:
        own_names: `parameter_names` of the model before the strategy adapted it.
        newly_initialised: Plain names of parameters that the checkpoint lacked. Outside the head they train in every phase,
            whatever the strategy: freezing spares pretrained parts only.

    Raises:
        ConfigError: The phases are out of order, or some phase trains nothing.
    """
    start_epochs = tuple(phase.start_epoch for phase in phases)
    if not start_epochs or start_epochs[0] != 0 or list(start_epochs) != sorted(set(start_epochs)):
        raise ConfigError(f"A strategy's phases must start at epoch 0 and rise, not at {list(start_epochs)}.")
    locations = locate(model, own_names, encoder)
    planned = []
    for name, parameter in model.named_parameters():
        location = locations[name]
        forced = location.name in newly_initialised and location.part not in ("head", "added", "unused")
        lr_multipliers = tuple(phase.lr_multiplier(location) or (1.0 if forced else 0.0) for phase in phases)
        planned.append(PlannedParameter(name, location, _logical_shape(parameter), lr_multipliers))
    plan = ParameterPlan(tuple(planned), start_epochs)
    for phase, start in enumerate(start_epochs):
        if not any(parameter.lr_multipliers[phase] > 0 for parameter in planned):
            raise ConfigError(f"No parameter trains from epoch {start} on, so training could not change the model.")
    return plan


def check_selectors(
    strategy: str, encoder: EncoderSpec, phases: Sequence[Phase], locations: Iterable[ParameterLocation]
) -> None:
    """Refuse phases with a selector that matches nothing: whatever it was to train would stay frozen without a word.

    Args:
        places: Of every parameter of the model.

    Raises:
        ConfigError: A selector that is not `optional` matches none of them.
    """
    found = [location for location in locations if location.part != "unused"]
    for phase in phases:
        for group in phase.groups:
            for selector in required_selectors(group.selects):
                if not any(map(selector, found)):
                    raise ConfigError(
                        f"{strategy} cannot work on {encoder.model_type}: its selector {describe_selector(selector)}, from "
                        f"epoch {phase.start_epoch} on, matches no parameter of {encoder.name}, of {encoder.depth} layers. "
                        f"Select among {_describe_places(found)}. If a model may lack them, write optional(...) around it."
                    )


def _describe_places(locations: Iterable[ParameterLocation]) -> str:
    """Part by part the names of parameters, those of all layers at once."""
    names: dict[str, dict[str, None]] = {}
    for location in locations:
        names.setdefault(location.part, {})[re.sub(r"\.\d+\.", ".N.", location.name)] = None
    return "; ".join(f"part {part!r}: {enumerate_some(list(inside), 40)}" for part, inside in names.items())


def _first_use(location: ParameterLocation, encoder: EncoderSpec) -> int:
    """The depth from which a parameter has an effect, counted from 0 at the bottom."""
    if location.part == "added":
        inside = re.search(re.escape(encoder.layers) + r"\.(\d+)\.", location.name)
        return encoder.first_use(int(inside.group(1))) if inside else 0
    if location.layer is not None:
        return encoder.first_use(location.layer)
    return 0 if location.part == "embeddings" else encoder.depth


def _logical_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """The shape that a weight stands for: quantised ones are packed into bytes, and bitsandbytes keeps theirs beside."""
    quantised = getattr(parameter, "quant_state", None)
    return tuple(quantised.shape if quantised is not None else parameter.shape)
