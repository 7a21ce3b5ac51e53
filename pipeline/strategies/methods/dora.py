"""DoRA."""

from __future__ import annotations

from typing import Any

from pipeline.config.fields import Names, config_class
from pipeline.strategies.adapters import QUERY_VALUE
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.methods.lora import Lora


@config_class
class Dora(Lora):
    """Train magnitude and, by a low-rank update, direction of frozen weights, and the classifier.

    Liu et al. 2024, arXiv:2402.09353.
    """

    targets: Names = (QUERY_VALUE,)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """LoRA's config with a magnitude vector per layer."""
        return super().peft_config(peft, context, {**shared, "use_dora": True})
