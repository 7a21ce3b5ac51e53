"""Layer-norm tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, head, norms


@config_class
class Layernorm(Strategy):
    """Train scale and shift of every layer norm, and the classifier (Qi et al. 2022, arXiv:2211.08682)."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The norms and the head, all the time."""
        return [Phase.training(norms, head)]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(3e-4, 1e-2)}
