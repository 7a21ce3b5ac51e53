"""Random weights: a control."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.config.fields import Count, Seed, config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.errors import ConfigError
from pipeline.strategies.adapters import linear_layers
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, added, biases, head, optional

if TYPE_CHECKING:
    from torch import nn


@config_class
class RandomSubset(Strategy):
    """Train single weights drawn at random, as many as BitFit trains biases: a control.

    The control of Ben Zaken et al. 2022, arXiv:2106.10199. The weights are drawn from the linear layers inside the
    encoder's layers. Of the classifier only the bias trains, as with `bitfit`.
    """

    amount: Count | None = None
    """How many weights train; as many as the encoder has biases if not given."""
    subset_seed: Seed = 0
    """Seed of the draw. It is drawn anew when a model is loaded, so it is kept with the model."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The drawn weights and the head's bias, all the time."""
        encoder = context.encoder
        if self.amount is None and not encoder.has_biases:
            raise ConfigError(
                f"random_subset cannot work on {encoder.model_type}: {encoder.name} has no biases to count below its "
                "classifier. Give --strategy-args amount=... or choose another strategy."
            )
        weights = encoder.layer_sets * encoder.layer_weights
        if self.amount is not None and self.amount > weights:
            raise ConfigError(
                f"random_subset: amount={self.amount} exceeds the {weights:,} weights in the linear layers of {encoder.name}. "
                "Choose fewer."
            )
        return [Phase.training(added, optional(lambda location: head(location) and biases(location)))]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Put the drawn weights of each layer into a vector of their own, which the frozen rest is completed with.

        The vector is a parameter like any other, so no optimizer, decay or clipping reaches the weights that were not drawn.
        """
        encoder = context.encoder
        locations = ((encoder.locate(name), parameter) for name, parameter in model.named_parameters())
        amount = self.amount or sum(p.numel() for location, p in locations if biases(location) and not head(location))
        modules = linear_layers(model, encoder).items()
        linear = [module for name, module in modules if encoder.locate(f"{name}.weight").part == "layer"]
        total = sum(_size(layer) for layer in linear)
        drawn = sorted(random.Random(self.subset_seed).sample(range(total), amount))
        for layer, indices in _by_layer(linear, drawn):
            _train_only(layer, indices)
        return model

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(3e-4, 1e-2)}


def _size(layer: nn.Module) -> int:
    return int(layer.weight.numel())  # type: ignore[operator]


def _by_layer(linear: Sequence[nn.Module], drawn: Sequence[int]) -> Iterator[tuple[nn.Module, list[int]]]:
    """Each layer with the drawn positions in its flattened weight; layers without any are left out."""
    first, position = 0, 0
    for layer in linear:
        last = first + _size(layer)
        start = position
        while position < len(drawn) and drawn[position] < last:
            position += 1
        if position > start:
            yield layer, [index - first for index in drawn[start:position]]
        first = last


def _train_only(layer: nn.Module, indices: Sequence[int]) -> None:
    """Give the weight's entries at the flat `indices` a parameter of their own, `subset_values`."""
    import torch
    from torch import nn
    from torch.nn.utils import parametrize

    class Completed(nn.Module):
        """The frozen weight with the trained values in their positions."""

        def __init__(self, weight: torch.Tensor) -> None:
            super().__init__()
            positions = torch.tensor(indices, device=weight.device)
            self.register_buffer("positions", positions, persistent=False)
            self.subset_values = nn.Parameter(weight.detach().flatten()[positions].clone())

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            positions: torch.Tensor = self.positions  # type: ignore[assignment]
            return weight.flatten().index_copy(0, positions, self.subset_values).view_as(weight)

    parametrize.register_parametrization(layer, "weight", Completed(layer.weight), unsafe=True)  # type: ignore[arg-type]
