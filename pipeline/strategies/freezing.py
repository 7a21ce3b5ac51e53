"""What strategies are made of: selectors (which parameters), layer counts, and phases (when, at which rate)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.modeling.encoder import EncoderSpec, ParameterLocation

Selector = Callable[[ParameterLocation], bool]


def everything(location: ParameterLocation) -> bool:
    """Select every parameter of the model."""
    return location.part != "unused"


def head(location: ParameterLocation) -> bool:
    """Select the classifier."""
    return location.part == "head"


def added(location: ParameterLocation) -> bool:
    """Select what the strategy put into the model, such as adapters."""
    return location.part == "added"


def biases(location: ParameterLocation) -> bool:
    """Select every `bias`, the classifier's included, and DeBERTa's `q_bias` and `v_bias`; no weight."""
    return location.part != "unused" and location.name.endswith("bias")


def pooler(location: ParameterLocation) -> bool:
    """Select what stands between the top layer and the classifier, such as BERT's pooler."""
    return location.part == "pooler"


def embeddings(location: ParameterLocation) -> bool:
    """Select the embedding tables, with their norm and projection."""
    return location.part == "embeddings"


def shared(location: ParameterLocation) -> bool:
    """Select what stands outside the layers and is used by all of them, such as DeBERTa's table of relative positions."""
    return location.part == "shared"


def norms(location: ParameterLocation) -> bool:
    """Select scale and shift of every layer norm."""
    module = location.name.lower().rpartition(".")[0].rpartition(".")[2]  # not the model's, such as `roberta_prelayernorm`
    return location.part not in ("unused", "added") and ("norm" in module or module == "ln")


def inside_layers(*components: str) -> Selector:
    """Select those parameters of the encoder layers that have one of the components in their dotted name."""

    def select(location: ParameterLocation) -> bool:
        return location.part == "layer" and not set(components).isdisjoint(location.name.split("."))

    select.__qualname__ = f"inside_layers({', '.join(map(repr, components))})"
    return select


def layers(start: int, stop: int) -> Selector:
    """Select the encoder layers from `start` up to but not including `stop`, counted from 0 at the bottom."""

    def select(location: ParameterLocation) -> bool:
        return location.layer is not None and start <= location.layer < stop

    select.__qualname__ = f"layers({start}, {stop})"
    return select if max(start, 0) < stop else optional(select)


def either(*selectors: Selector) -> Selector:
    """Select what any of the selectors selects."""
    return _Either(selectors)


def optional(selector: Selector) -> Selector:
    """Select the same. A selector that matches no parameter of a model is refused, unless it stands in here.

    `head`, `added`, `shared`, `pooler` and `biases` need not: not every model has those parts.
    """
    return _Optional(selector)


@dataclass(frozen=True)
class _Either:
    selectors: tuple[Selector, ...]

    def __call__(self, location: ParameterLocation) -> bool:
        return any(selects(location) for selects in self.selectors)


@dataclass(frozen=True)
class _Optional:
    selector: Selector

    def __call__(self, location: ParameterLocation) -> bool:
        return self.selector(location)


def required_selectors(selector: Selector) -> Iterator[Selector]:
    """Those of which a selector is made, by `either` or alone, and that must match some parameter."""
    if isinstance(selector, _Either):
        for member in selector.selectors:
            yield from required_selectors(member)
    elif not isinstance(selector, _Optional) and selector not in (head, added, shared, pooler, biases):
        yield selector


def describe_selector(selector: Selector) -> str:
    """What its author called a selector, and where it is written."""
    name = getattr(selector, "__qualname__", type(selector).__qualname__).rpartition("<locals>.")[2]
    code = getattr(selector, "__code__", None)
    if code is None or code.co_filename == __file__:
        return name
    return f"{name} ({Path(code.co_filename).name}, line {code.co_firstlineno})"


def count_layers(label: str, size: float, encoder: EncoderSpec) -> int:
    """How many layers a size means: a whole number as it is, less than 1 a share of the depth, to the nearest layer.

    Halves go up, so that of 6 layers two thirds and three quarters are not the same.

    Args:
        label: Strategy and argument as they are typed, such as `freeze_bottom: bottom`.

    Raises:
        ConfigError: Not a whole number, or more layers than there are.
    """
    depth = encoder.depth
    if size < 1:
        return min(depth, max(1, math.floor(size * depth + 0.5)))
    if size != int(size):
        raise ConfigError(f"{label}={size:g} is neither a whole number of layers nor a share of the depth below 1.")
    if size > depth:
        raise ConfigError(f"{label}={size:g} exceeds the {depth} layers of {encoder.name}. Choose 1 to {depth}.")
    return int(size)


def require_own_layers(strategy: str, encoder: EncoderSpec) -> None:
    """Refuse an encoder whose layers cannot train differently.

    Raises:
        ConfigError: Layers share weights.
    """
    if encoder.shares_layers:
        sets = "one set" if encoder.layer_sets == 1 else f"{encoder.layer_sets} sets"
        raise ConfigError(
            f"{strategy} cannot work on {encoder.model_type}: the {encoder.depth} layers of {encoder.name} share {sets} of "
            "weights, so the top ones cannot train otherwise than those below. Choose another strategy."
        )


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that train at `lr_multiplier` times the learning rate."""

    selects: Selector
    lr_multiplier: float = 1.0


@dataclass(frozen=True)
class Phase:
    """From `start_epoch` (counted from 0) the groups train; the first group that selects a parameter decides its rate."""

    groups: tuple[ParamGroup, ...]
    start_epoch: int = 0

    @staticmethod
    def training(*selectors: Selector, start_epoch: int = 0) -> Phase:
        """A phase in which everything selected trains at the full learning rate."""
        return Phase((ParamGroup(either(*selectors)),), start_epoch)

    def lr_multiplier(self, location: ParameterLocation) -> float:
        """Share of the learning rate for a parameter; 0 where it is frozen."""
        return next((group.lr_multiplier for group in self.groups if group.selects(location)), 0.0)
