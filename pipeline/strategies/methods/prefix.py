"""Prefix tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.fields import Rate, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import VirtualTokens
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.freezing import ParamGroup, Phase, added, head

if TYPE_CHECKING:
    from torch import nn


_INITIAL_SCALE = 0.02
"""Standard deviation of keys and values that train directly, when they begin: that of BERT's own first weights. peft draws them
at 1. In MiniLM a third of the attention goes to them, and the values of real tokens are of 0.4 to 0.7, so the text drowns."""


@config_class
class Prefix(VirtualTokens):
    """Train keys and values put before those of every layer, and the classifier (Li and Liang 2021, arXiv:2101.00190)."""

    projection: bool = True
    """Make the prefix from an embedding by a two-layer network, which trains too; else train it directly."""

    projection_lr_multiplier: Rate = 0.02
    """Share of the learning rate at which that embedding and network train; the published method says 1."""

    @property
    def computes_layers_once(self) -> str:
        """Peft hands the prefix to the layers as a cache of past keys and values, which transformers takes from such layers."""
        return "layers that are computed anew are given no past keys and values, which the prefix is"

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """None where a network makes the prefix: nearly all that trains is that network, whatever the number of tokens."""
        return [] if self.projection else super().sizes(context)

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The prefix and the head, all the time.

        Every key and value that the network makes is a sum over its width, and Adam moves all weights of the sum at once. At
        the rate that the head needs, keys and values are as large as the text's own before they are of use, and stay so.
        """
        super().phases(context)
        return [Phase((ParamGroup(added, self.projection_lr_multiplier if self.projection else 1.0), ParamGroup(head)))]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the model with peft; keys and values that train directly begin near zero."""
        wrapped = super().adapt(model, context)
        if not self.projection:
            prompt: Any = wrapped.get_submodule("prompt_encoder.default.embedding")
            prompt.weight.data.mul_(_INITIAL_SCALE)
        return wrapped

    def peft_config(self, peft: Any, model: nn.Module, shared: dict[str, Any]) -> Any:
        """Prefix tuning's config."""
        return peft.PrefixTuningConfig(prefix_projection=self.projection, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and numbers of virtual tokens."""
        return {"learning_rate": LogUniform(3e-3, 3e-2), "num_virtual_tokens": Choices((10, 20, 40))}
