"""Updates of a weight that are products other than LoRA's: LoHa, LoKr, C3A."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.fields import Count, Names, Rate, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter
from pipeline.strategies.base import StrategyContext


@config_class
class Loha(LinearAdapter):
    """Train the entrywise product of two low-rank updates of frozen weights, and the classifier.

    Hyeon-Woo et al. 2022, arXiv:2108.06098. The update has rank up to r² with 2·r·(n + m) numbers for n inputs and m outputs.
    """

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """Rank of both factors."""
    alpha: Rate | None = None
    """Scale of the updates, relative to r; r if not given."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """LoHa's config."""
        return peft.LoHaConfig(r=self.r, alpha=self.alpha or self.r, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(3e-4, 1e-2), "r": Choices((4, 8, 16))}


@config_class
class Lokr(LinearAdapter):
    """Train updates of frozen weights that are a small matrix times a low-rank one (Kronecker), and the classifier.

    Edalati et al. 2022, arXiv:2212.10650; Yeh et al. 2024, arXiv:2309.14859. Each width is taken as a product of two numbers as
    near each other as they get.
    """

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """Rank of the larger factor; half its width or more makes it a whole matrix."""
    alpha: Rate | None = None
    """Scale of the updates, relative to r; r if not given."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """LoKr's config."""
        return peft.LoKrConfig(r=self.r, alpha=self.alpha or self.r, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(1e-3, 3e-2), "r": Choices((4, 8, 16))}


@config_class
class C3a(LinearAdapter):
    """Train updates of frozen weights that are made of circulant blocks, and the classifier.

    Chen et al. 2025, arXiv:2407.19342. n·m/block_size numbers for n inputs and m outputs, of full rank. The kernels begin at
    random, as in the paper, so the model begins near its base and not at it.
    """

    targets: Names = (QUERY_VALUE,)
    block_size: Count = 128
    """Width of a circulant block; must divide inputs and outputs of every adapted layer."""

    def misfit(self, inputs: int, outputs: int) -> str:
        """Blocks must divide both widths."""
        return self.undivided("block_size", inputs, outputs)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """C3A's config."""
        return peft.C3AConfig(block_size=self.block_size, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-2, 3e-1)}
