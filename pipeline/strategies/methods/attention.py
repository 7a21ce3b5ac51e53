"""Training the attention blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, head, inside_layers, pooler


@config_class
class Attention(Strategy):
    """Train the attention blocks (output and norm included), the pooler and the classifier; feed-forward blocks stay frozen.

    The frozen model of the Korean emotion study; cf. Touvron et al. 2022, arXiv:2203.09795.
    """

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """Attention, pooler and head, all the time."""
        blocks = inside_layers(*context.encoder.family.attention)
        return [Phase.training(blocks, pooler, head)]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(2e-5, 5e-4)}
