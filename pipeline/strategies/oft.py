"""Orthogonal fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.fields import Count, Names, Probability, typed
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter, linear_layers
from pipeline.strategies.base import StrategyContext

if TYPE_CHECKING:
    from torch import nn


@typed
class Oft(LinearAdapter):
    """Train block-diagonal rotations of the input of frozen layers, and the classifier (Qiu et al. 2023, arXiv:2306.07280)."""

    targets: Names = (QUERY_VALUE,)
    block_size: Count = 32
    """Width of a rotation; must divide the input width of every adapted layer."""
    oft_dropout: Probability = 0.0
    """Probability with which a block is left unrotated in a training step."""

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the layers with peft, which would silently change a block size that does not fit.

        Raises:
            ConfigError: The block size divides not every layer's width.
        """
        names = self._target_names(context.encoder)
        widths = {
            int(module.in_features)  # type: ignore[arg-type]
            for name, module in linear_layers(model, context.encoder).items()
            if name.rpartition(".")[2] in names
        }
        if wrong := sorted(width for width in widths if width % self.block_size):
            raise ConfigError(
                f"oft: block_size={self.block_size} does not divide the width {wrong[0]} of {context.encoder.name}'s layers. "
                "Choose a divisor of it."
            )
        return super().adapt(model, context)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """OFT's config."""
        return peft.OFTConfig(oft_block_size=self.block_size, module_dropout=self.oft_dropout, **shared)
