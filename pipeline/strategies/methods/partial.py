"""Partial fine-tuning of the top layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import Count, config_class
from pipeline.config.search_ranges import Integers, LogUniform, Range
from pipeline.errors import ConfigError
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, head, layers, require_own_layers


@config_class
class Partial(Strategy):
    """Train the last `top_k` encoder layers and the classifier; all below, and the pooler, stay frozen.

    Lee et al. 2019, arXiv:1911.03090.
    """

    top_k: Count = 4
    """How many encoder layers train, counted from the top."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The top layers and the head, all the time."""
        encoder, depth = context.encoder, context.encoder.depth
        require_own_layers("partial", encoder)
        if self.top_k > depth:
            raise ConfigError(f"partial: top_k={self.top_k} exceeds the {depth} layers of {encoder.name}. Choose 1 to {depth}.")
        return [Phase.training(layers(depth - self.top_k, depth), head)]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and one layer to all of them."""
        return {"learning_rate": LogUniform(5e-5, 1e-3), "top_k": Integers(1, context.encoder.depth)}
