"""Orthogonal fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config.fields import Count, Names, Probability, config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.errors import ConfigError
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.freezing import Phase


@config_class
class Oft(LinearAdapter):
    """Train block-diagonal rotations of the input of frozen layers, and the classifier (Qiu et al. 2023, arXiv:2306.07280)."""

    targets: Names = (QUERY_VALUE,)
    block_size: Count = 32
    """Width of a rotation; must divide the input width of every adapted layer."""
    oft_dropout: Probability = 0.0
    """Probability with which a block is left unrotated in a training step."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The rotations and the head, all the time; peft would silently change a block size that does not fit."""
        encoder, phases = context.encoder, super().phases(context)
        widths = [encoder.hidden_size]
        if encoder.family.feed_forward_output.rpartition(".")[2] in self._target_names(encoder):
            widths.append(encoder.intermediate_size)
        if wrong := [width for width in widths if width % self.block_size]:
            raise ConfigError(
                f"oft: block_size={self.block_size} does not divide the width {wrong[0]} of {encoder.name}'s layers. "
                "Choose a divisor of it."
            )
        return phases

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """OFT's config."""
        return peft.OFTConfig(oft_block_size=self.block_size, module_dropout=self.oft_dropout, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-4, 3e-3)}
