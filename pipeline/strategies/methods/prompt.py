"""Prompt tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import VirtualTokens, input_shape
from pipeline.strategies.base import StrategyContext

if TYPE_CHECKING:
    from torch import nn


@config_class
class Prompt(VirtualTokens):
    """Train embeddings put before those of the text, and the classifier (Lester et al. 2021, arXiv:2104.08691).

    As in peft, they come before the text's first token, so a classifier on the first position reads the first of them.
    """

    def peft_config(self, peft: Any, model: nn.Module, shared: dict[str, Any]) -> Any:
        """Prompt tuning's config; embeddings begin at random."""
        return peft.PromptTuningConfig(**input_shape(model), **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and numbers of virtual tokens."""
        return {"learning_rate": LogUniform(1e-3, 1e-1), "num_virtual_tokens": Choices((10, 20, 40))}
