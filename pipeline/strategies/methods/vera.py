"""VeRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.fields import Count, Names, Probability, Seed, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter
from pipeline.strategies.base import StrategyContext


@config_class
class Vera(LinearAdapter):
    """Train two scaling vectors per layer between random matrices that all layers share, and the classifier.

    Kopiczko et al. 2024, arXiv:2310.11454.
    """

    targets: Names = (QUERY_VALUE,)
    r: Count = 256
    """Rank of the shared random matrices."""
    vera_dropout: Probability = 0.0
    """Dropout on the input of the updates."""
    projection_seed: Seed = 0
    """Seed of the random matrices. They are drawn anew when a model is loaded, so it is kept with the model."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """VeRA's config."""
        return peft.VeraConfig(r=self.r, vera_dropout=self.vera_dropout, projection_prng_key=self.projection_seed, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(1e-3, 3e-2), "r": Choices((64, 128, 256))}
