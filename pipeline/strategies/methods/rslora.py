"""Rank-stabilised LoRA."""

from __future__ import annotations

from typing import Any

from pipeline.config.fields import Rate, config_class
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.methods.lora import Lora


@config_class
class Rslora(Lora):
    """Train LoRA's updates at the scale alpha/√r, so that high ranks learn as fast as low ones.

    Kalajdzievski 2023, arXiv:2312.03732.
    """

    alpha: Rate | None = 16.0
    """Scale of the updates, relative to √r; a search over r holds it."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """LoRA's config with the other scale."""
        return super().peft_config(peft, context, {**shared, "use_rslora": True})
