"""Full fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, everything


@config_class
class Full(Strategy):
    """Train every parameter (Devlin et al. 2019, arXiv:1810.04805)."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """Everything, all the time."""
        return [Phase.training(everything)]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-5, 2e-4)}
