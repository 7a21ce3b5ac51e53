"""What trains from which epoch on, as a strategy declares it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.modeling.encoder import Place
from pipeline.strategies.freezing.selectors import Selector, either


@dataclass(frozen=True)
class RateGroup:
    """Parameters that train at `factor` times the learning rate."""

    selects: Selector
    factor: float = 1.0


@dataclass(frozen=True)
class Phase:
    """From `start_epoch` (counted from 0) the groups train; the first group that selects a parameter decides its rate."""

    groups: tuple[RateGroup, ...]
    start_epoch: int = 0

    @staticmethod
    def training(*selectors: Selector, start_epoch: int = 0) -> Phase:
        """A phase in which everything selected trains at the full learning rate."""
        return Phase((RateGroup(either(*selectors)),), start_epoch)

    def factor(self, place: Place) -> float:
        """Share of the learning rate for a parameter; 0 where it is frozen."""
        return next((group.factor for group in self.groups if group.selects(place)), 0.0)
