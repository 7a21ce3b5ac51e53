"""LoRA on every linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, unknown
from pipeline.fields import Count, Names, Probability, Rate, typed
from pipeline.strategies.base import Strategy, StrategyContext, import_peft
from pipeline.strategies.freezing import Phase, added, head

if TYPE_CHECKING:
    from torch import nn


@typed
class Lora(Strategy):
    """Train low-rank updates of frozen weights, W + (alpha/r)·B·A, and the classifier (Hu et al. 2021, arXiv:2106.09685)."""

    r: Count = 8
    """Rank of the updates."""
    alpha: Rate = 16.0
    """Scale of the updates, relative to r."""
    lora_dropout: Probability = 0.0
    """Dropout on the input of the updates."""
    targets: Names = ()
    """Last names of the linear layers that are adapted, such as [query,value]; all of encoder and pooler if not given."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The updates and the head, all the time."""
        available = context.encoder.architecture.linear
        wrong = [unknown("target", name, available) for name in self.targets if name not in available]
        if wrong:
            raise ConfigError(*(f"lora: targets: {message}" for message in wrong))
        return [Phase.training(added, head)]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the linear layers with peft, by their full names: a last name such as `dense` may be one of the head's, too."""
        peft = import_peft()
        encoder, names = context.encoder, self.targets or context.encoder.architecture.linear
        inside = [
            name
            for name, _ in model.named_modules()
            if name.rpartition(".")[2] in names and encoder.place(f"{name}.weight").part in ("layer", "pooler")
        ]
        config = peft.LoraConfig(
            task_type="SEQ_CLS",
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.lora_dropout,
            target_modules=inside,
            modules_to_save=list(encoder.architecture.head),
        )
        wrapped: nn.Module = peft.get_peft_model(model, config)
        return wrapped
