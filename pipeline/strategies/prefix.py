"""Prefix tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.fields import typed
from pipeline.ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import VirtualTokens
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.freezing.phases import Phase

if TYPE_CHECKING:
    from torch import nn


@typed
class Prefix(VirtualTokens):
    """Train keys and values put before those of every layer, and the classifier (Li and Liang 2021, arXiv:2101.00190)."""

    projection: bool = True
    """Make the prefix from an embedding by a two-layer network, which trains too; else train it directly."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The prefix and the head, all the time."""
        encoder = context.encoder
        if not encoder.architecture.takes_prefix:
            raise ConfigError(
                f"prefix cannot work on {encoder.model_type}: its attention takes no past keys and values. "
                "Choose another strategy."
            )
        return super().phases(context)

    def peft_config(self, peft: Any, model: nn.Module, shared: dict[str, Any]) -> Any:
        """Prefix tuning's config."""
        return peft.PrefixTuningConfig(prefix_projection=self.projection, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and numbers of virtual tokens."""
        return {"learning_rate": LogUniform(3e-4, 3e-3), "num_virtual_tokens": Choices((10, 20, 40))}
