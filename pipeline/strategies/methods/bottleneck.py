"""Bottleneck adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config.fields import Count, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import linear_layers
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, added, head, norms

if TYPE_CHECKING:
    from torch import nn


_SMALL = 1e-2  # standard deviation of new weights: an adapter begins near the identity


@config_class
class Bottleneck(Strategy):
    """Train small two-layer networks behind the blocks of every layer, and the classifier.

    Houlsby et al. 2019, arXiv:1902.00751. An adapter computes h + U·gelu(D·h) of what the block's last linear layer puts
    out, before dropout and the residual.
    """

    placement: Literal["pfeiffer", "houlsby"] = "pfeiffer"
    """pfeiffer: behind the feed-forward block (Pfeiffer et al. 2021, arXiv:2005.00247); houlsby: behind attention, too, and the
    layers' norms train."""
    reduction_factor: Count = 16
    """The hidden size divided by the width of the bottleneck."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Factors, large ones first: the larger, the fewer train."""
        return range(context.encoder.hidden_size, 0, -1)

    def sized(self, size: int) -> dict[str, Any]:
        """The factor of the width."""
        return {"reduction_factor": size}

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The adapters and the head, with houlsby the layers' norms as well, all the time."""
        if self.placement == "pfeiffer":
            return [Phase.training(added, head)]
        return [Phase.training(added, head, lambda location: location.part == "layer" and norms(location))]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Put an adapter behind the output layer of each block."""
        encoder = context.encoder
        parts = encoder.family
        for name, layer in linear_layers(model, encoder).items():
            behind_attention = name.endswith(parts.attention_output)
            behind_feed_forward = name.endswith(parts.feed_forward_output) and not behind_attention
            if behind_feed_forward or (behind_attention and self.placement == "houlsby"):
                model.set_submodule(name, self._with_adapter(layer, encoder.hidden_size))
        return model

    def _with_adapter(self, layer: nn.Module, hidden_size: int) -> nn.Module:
        import torch
        from torch import nn

        width = max(1, hidden_size // self.reduction_factor)

        class Adapted(nn.Module):
            """A linear layer with an adapter behind it."""

            def __init__(self) -> None:
                super().__init__()
                self.base_layer = layer
                self.adapter_down = nn.Linear(hidden_size, width)
                self.adapter_up = nn.Linear(width, hidden_size)
                for part in (self.adapter_down, self.adapter_up):
                    nn.init.normal_(part.weight, std=_SMALL)
                    nn.init.zeros_(part.bias)

            def forward(self, hidden: torch.Tensor) -> torch.Tensor:
                hidden = self.base_layer(hidden)
                adapted: torch.Tensor = hidden + self.adapter_up(nn.functional.gelu(self.adapter_down(hidden)))
                return adapted

        return Adapted()

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and widths."""
        return {"learning_rate": LogUniform(1e-4, 3e-3), "reduction_factor": Choices((4, 16, 64))}
