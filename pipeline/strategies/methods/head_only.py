"""Feature extraction: the encoder as it is, a classifier on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, head


@config_class
class HeadOnly(Strategy):
    """Train the classifier alone; encoder and pooler stay frozen (Peters et al. 2019, arXiv:1903.05987)."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The head, all the time."""
        return [Phase.training(head)]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-3, 0.3)}
