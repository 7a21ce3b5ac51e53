"""Feature extraction: the encoder as it is, a classifier on top."""

from collections.abc import Mapping, Sequence

from pipeline.fields import typed
from pipeline.ranges import LogUniform, Range
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing.phases import Phase
from pipeline.strategies.freezing.selectors import head


@typed
class HeadOnly(Strategy):
    """Train the classifier alone; encoder and pooler stay frozen (Peters et al. 2019, arXiv:1903.05987)."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The head, all the time."""
        return [Phase.training(head)]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-3, 0.3)}
