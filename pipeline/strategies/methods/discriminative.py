"""Discriminative learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import ParamGroup, Phase, either, embeddings, head, layers, pooler, require_own_layers, shared

Decay = Annotated[float, Field(gt=0, le=1)]

# Shares of the learning rate. At 2e-5 they are the layerwise study's: 1e-6 for embeddings, 1e-6 or 5e-6 for the lower half of
# the layers, 1e-5 for the upper half and the pooler, 2e-5 for what is new.
_EMBEDDINGS, _UPPER, _NEW = 0.05, 0.5, 1.0
_LOWER = {"two_rates": 0.05, "three_rates": 0.25}


@config_class
class Discriminative(Strategy):
    """Train everything, lower layers at smaller rates (Howard and Ruder 2018, arXiv:1801.06146).

    The tables are the layerwise study's; geometric decay is that of Sun et al. 2019, arXiv:1905.05583.
    """

    table: Literal["two_rates", "three_rates", "geometric"] = "two_rates"
    """Shares of the learning rate. two_rates: embeddings 0.05, lower half 0.05, upper half and pooler 0.5, classifier 1;
    three_rates: the same with 0.25 for the lower half; geometric: each layer `decay` times the one above it."""
    decay: Decay = 0.95
    """Factor from layer to layer with table=geometric; classifier, pooler and top layer train at the full rate."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """Everything, all the time, each part at its rate."""
        require_own_layers("discriminative", context.encoder)
        depth = context.encoder.depth
        if self.table == "geometric":
            by_layer = [ParamGroup(layers(i, i + 1), self.decay ** (depth - 1 - i)) for i in range(depth)]
            bottom, upper = self.decay**depth, 1.0
        else:
            half = depth // 2
            by_layer = [ParamGroup(layers(0, half), _LOWER[self.table]), ParamGroup(layers(half, depth), _UPPER)]
            bottom, upper = _EMBEDDINGS, _UPPER
        ends = ParamGroup(either(embeddings, shared), bottom), ParamGroup(pooler, upper), ParamGroup(head, _NEW)
        return [Phase((*by_layer, *ends))]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and the shares of them that lower layers get."""
        return {"learning_rate": LogUniform(1e-5, 3e-4), "table": Choices(("two_rates", "three_rates", "geometric"))}
