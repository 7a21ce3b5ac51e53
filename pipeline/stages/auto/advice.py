"""What `strategy=auto` takes and why, and its rule of thumb, whose thresholds are claims of the layerwise study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.modeling.encoder import EncoderSpec

FEW, MANY = 100, 1000
"""Examples below which most layers are frozen, and above which everything trains alike."""
_FROZEN_SHARE = 0.75  # 9 of the study's 12 layers
_EPOCHS_FOR_GRADUAL = 5  # everything trains from the fifth on


@dataclass(frozen=True)
class Advice:
    """A strategy with its arguments, and why."""

    strategy: str
    reason: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] | None = None
    """Options of training with which it was measured; None of a rule, which measured nothing."""


def advise(examples: int, epochs: int, encoder: EncoderSpec) -> Advice:
    """The advised strategy for so many training examples and passes over them."""
    size = f"{examples:,} training examples"
    if encoder.shares_layers:
        return Advice("full", f"the layers of {encoder.name} share weights, so none can be frozen or slowed alone")
    if examples < FEW:
        share = {"bottom": _FROZEN_SHARE}
        return Advice("freeze_bottom", f"{size}, fewer than {FEW}: freeze the bottom three quarters of the layers", share)
    if examples <= MANY:
        return Advice("discriminative", f"{size}, {FEW} to {MANY:,}: lower layers at smaller rates")
    if epochs >= _EPOCHS_FOR_GRADUAL:
        return Advice("gradual", f"{size}, more than {MANY:,}, and {epochs} epochs: unfreeze gradually")
    return Advice("full", f"{size}, more than {MANY:,}, and fewer than {_EPOCHS_FOR_GRADUAL} epochs: train everything")
