"""Freezing the bottom layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import Rate, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import (
    Phase,
    count_layers,
    either,
    embeddings,
    head,
    layers,
    pooler,
    require_own_layers,
    shared,
)


@config_class
class FreezeBottom(Strategy):
    """Freeze the bottom layers and train all above them, pooler and classifier included.

    Lee et al. 2019, arXiv:1911.03090. `partial` with as many layers on top also freezes the pooler.
    """

    bottom: Rate = 0.5
    """How many layers are frozen, counted from the bottom: a whole number, or below 1 a share of the depth."""
    freeze_embeddings: bool = True
    """Freeze the embeddings, too."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """What is above the frozen layers, all the time."""
        encoder = context.encoder
        require_own_layers("freeze_bottom", encoder)
        frozen = count_layers("freeze_bottom: bottom", self.bottom, encoder)
        trained = either(layers(frozen, encoder.depth), pooler, head)
        return [Phase.training(trained if self.freeze_embeddings else either(trained, embeddings, shared))]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and how much is frozen."""
        return {"learning_rate": LogUniform(2e-5, 5e-4), "bottom": Choices((0.25, 0.5, 0.75))}
