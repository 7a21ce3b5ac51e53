"""LoRA on every linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.fields import Count, Probability, Rate, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import LinearAdapter
from pipeline.strategies.base import StrategyContext


@config_class
class Lora(LinearAdapter):
    """Train low-rank updates of frozen weights, W + (alpha/r)·B·A, and the classifier (Hu et al. 2021, arXiv:2106.09685)."""

    r: Count = 8
    """Rank of the updates."""
    alpha: Rate | None = None
    """Scale of the updates, relative to r; twice r if not given, so that a search over r holds alpha/r."""
    lora_dropout: Probability = 0.0
    """Dropout on the input of the updates."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """LoRA's config, to which variants add a keyword."""
        return peft.LoraConfig(r=self.r, lora_alpha=self.alpha or 2 * self.r, lora_dropout=self.lora_dropout, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(1e-4, 3e-3), "r": Choices((4, 8, 16, 32))}
