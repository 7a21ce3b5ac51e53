"""Gradual unfreezing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import Count, Rate, config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.errors import ConfigError
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, count_layers, everything, head, layers, pooler, require_own_layers


@config_class
class Gradual(Strategy):
    """Train the classifier first, then the top layers and the pooler as well, then everything.

    Howard and Ruder 2018, arXiv:1801.06146; by epochs as in the layerwise study: 1-2, 3-4, from 5 on.
    """

    head_epochs: Count = 2
    """Epochs in which the classifier trains alone."""
    top_epochs: Count = 2
    """Epochs after those in which the top layers and the pooler train, too."""
    top: Rate = 0.5
    """How many layers are the top ones: a whole number, or below 1 a share of the depth."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The head, from `head_epochs` on the top layers, and `top_epochs` later all."""
        encoder, first = context.encoder, self.head_epochs + self.top_epochs
        require_own_layers("gradual", encoder)
        top = count_layers("gradual: top", self.top, encoder)
        if context.epochs <= first:
            shorter = "" if context.epochs < 3 else ", or shorter phases, such as --strategy-args head_epochs=1,top_epochs=1"
            raise ConfigError(
                f"gradual: --epochs {context.epochs} ends before everything trains: head_epochs={self.head_epochs} and "
                f"top_epochs={self.top_epochs} come first. Give --epochs {first + 1} or more{shorter}."
            )
        return [
            Phase.training(head),
            Phase.training(head, pooler, layers(encoder.depth - top, encoder.depth), start_epoch=self.head_epochs),
            Phase.training(everything, start_epoch=first),
        ]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-5, 3e-4)}
