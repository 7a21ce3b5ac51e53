"""BitFit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.errors import ConfigError
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, biases


@config_class
class Bitfit(Strategy):
    """Train every bias, the classifier's included, and no weight (Ben Zaken et al. 2022, arXiv:2106.10199)."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The biases, all the time."""
        encoder = context.encoder
        if not encoder.has_biases:
            raise ConfigError(
                f"bitfit cannot work on {encoder.model_type}: {encoder.name} has no biases below its classifier. "
                "Choose another strategy."
            )
        return [Phase.training(biases)]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(3e-4, 1e-2)}
