"""Prefix tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.fields import Count, typed
from pipeline.strategies.base import Strategy, StrategyContext, import_peft
from pipeline.strategies.freezing import Phase, added, head

if TYPE_CHECKING:
    from torch import nn

_SHORTEST_TEXT = 3  # one token between those that the tokenizer puts around a text


@typed
class Prefix(Strategy):
    """Train keys and values put before those of every layer, and the classifier (Li and Liang 2021, arXiv:2101.00190)."""

    num_virtual_tokens: Count = 20
    """Length of the prefix."""
    projection: bool = True
    """Make the prefix from an embedding by a two-layer network, which trains too; else train it directly."""

    @property
    def positions(self) -> int:
        """One for each virtual token: the text's positions are counted on from them."""
        return self.num_virtual_tokens

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The prefix and the head, all the time."""
        encoder = context.encoder
        if not encoder.architecture.takes_prefix:
            raise ConfigError(
                f"prefix cannot work on {encoder.model_type}: its attention takes no past keys and values. "
                "Choose another strategy."
            )
        if self.num_virtual_tokens > encoder.max_positions - _SHORTEST_TEXT:
            raise ConfigError(
                f"prefix: num_virtual_tokens={self.num_virtual_tokens} leaves no room for text in the "
                f"{encoder.max_positions} positions of {encoder.name}. Choose fewer."
            )
        return [Phase.training(added, head)]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the model with peft."""
        peft = import_peft()
        config = peft.PrefixTuningConfig(
            task_type="SEQ_CLS",
            num_virtual_tokens=self.num_virtual_tokens,
            prefix_projection=self.projection,
        )
        wrapped: nn.Module = peft.get_peft_model(model, config)
        return wrapped
