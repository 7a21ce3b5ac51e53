"""Orthogonal fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config.fields import Count, Names, Probability, config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter, divisors
from pipeline.strategies.base import StrategyContext


@config_class
class Oft(LinearAdapter):
    """Train block-diagonal rotations of the input of frozen layers, and the classifier (Qiu et al. 2023, arXiv:2306.07280)."""

    targets: Names = (QUERY_VALUE,)
    block_size: Count = 32
    """Width of a rotation; must divide the input width of every adapted layer."""
    oft_dropout: Probability = 0.0
    """Probability with which a block is left unrotated in a training step."""
    exact: bool = False
    """Solve for each rotation (Cayley's map) in every step. Else take the first five terms of its series, as peft does, which
    is quicker, and a rotation only while it turns little."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Widths of rotations."""
        return [size for size in divisors(context.encoder.hidden_size) if size > 1]

    def sized(self, size: int) -> dict[str, Any]:
        """The width of a rotation."""
        return {"block_size": size}

    def misfit(self, inputs: int, outputs: int) -> str:
        """Blocks must divide the width; peft would silently change a block size that does not fit."""
        return self.undivided("block_size", inputs)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """OFT's config."""
        options = {"module_dropout": self.oft_dropout, "use_cayley_neumann": not self.exact}
        return peft.OFTConfig(oft_block_size=self.block_size, **options, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-4, 3e-3)}
