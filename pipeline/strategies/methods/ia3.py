"""(IA)³."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.config.fields import config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.strategies.adapters import import_peft, linear_layers
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, added, head

if TYPE_CHECKING:
    from torch import nn


@config_class
class Ia3(Strategy):
    """Train vectors that rescale keys, values and what enters the output layers, and the classifier.

    Liu et al. 2022, arXiv:2205.05638.
    """

    rescale_attention_output: bool = True
    """Rescale the input of the attention's output layer, too, as peft does for BERT; false gives the paper's three vectors."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The vectors and the head, all the time."""
        return [Phase.training(added, head)]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the layers with peft; the vector of an output layer is applied to its input."""
        peft, encoder = import_peft(), context.encoder
        parts = encoder.family
        names = [name for name in linear_layers(model, encoder) if encoder.locate(f"{name}.weight").part == "layer"]
        attention = [name for name in names if name.endswith(parts.attention_output)]
        outputs = [name for name in names if name.endswith(parts.feed_forward_output) and name not in attention]
        if self.rescale_attention_output:
            outputs += attention
        config = peft.IA3Config(
            task_type="SEQ_CLS",
            target_modules=[name for name in names if name.rpartition(".")[2] in parts.key_value] + outputs,
            feedforward_modules=outputs,
            modules_to_save=list(encoder.head_modules),
        )
        wrapped: nn.Module = peft.get_peft_model(model, config)
        return wrapped

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-3, 3e-2)}
