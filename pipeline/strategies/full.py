"""Full fine-tuning."""

from collections.abc import Sequence

from pipeline.fields import typed
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, everything


@typed
class Full(Strategy):
    """Train every parameter (Devlin et al. 2019, arXiv:1810.04805)."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """Everything, all the time."""
        return [Phase.training(everything)]
