"""P-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.fields import Count, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import VirtualTokens, input_shape
from pipeline.strategies.base import StrategyContext

if TYPE_CHECKING:
    from torch import nn


@config_class
class Ptuning(VirtualTokens):
    """Train a network that makes the embeddings put before those of the text, and the classifier.

    Liu et al. 2021, arXiv:2103.10385. As in peft, they come before the text's first token, so a classifier on the first
    position reads the first of them.
    """

    prompt_hidden_size: Count = 128
    """Width of the network's two hidden layers."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Widths of the network."""
        return range(1, 4 * context.encoder.hidden_size + 1)

    def sized(self, size: int) -> dict[str, Any]:
        """The width of the network."""
        return {"prompt_hidden_size": size}

    def peft_config(self, peft: Any, model: nn.Module, shared: dict[str, Any]) -> Any:
        """P-tuning's config."""
        return peft.PromptEncoderConfig(encoder_hidden_size=self.prompt_hidden_size, **input_shape(model), **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and numbers of virtual tokens."""
        return {"learning_rate": LogUniform(1e-4, 1e-2), "num_virtual_tokens": Choices((10, 20, 40))}
