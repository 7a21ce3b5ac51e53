"""LoRA's update added by the matrix product that computes it, not scaled and added in two more passes over the states."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.training.acceleration.base import Acceleration, Target, replaced_forwards

if TYPE_CHECKING:
    import torch
    from torch import nn


class FusedLora(Acceleration):
    """LoRA in three matrix products."""

    def patch(self, target: Target) -> contextlib.AbstractContextManager[None]:
        """The model's layers with a plain LoRA, if it has any."""
        return fused_lora(target.model)


@contextlib.contextmanager
def fused_lora(model: nn.Module) -> Iterator[None]:
    """Within the block every layer of `model` that peft gave a plain LoRA computes y = xWᵀ + b + s·(xAᵀ)Bᵀ in three products.

    Layers with a variant (DoRA), of quantised weights, or with several adapters stay as peft has them.
    """
    names = {module: name for module in model.modules() if (name := _only_adapter(module))}
    with replaced_forwards({module: functools.partial(_forward, name) for module, name in names.items()}):
        yield


def _only_adapter(module: nn.Module) -> str | None:
    """The name of a plain LoRA on a plain linear layer; None of anything else."""
    from torch import nn

    # By name: only a strategy of this kind has imported peft.
    if f"{type(module).__module__}.{type(module).__qualname__}" != "peft.tuners.lora.layer.Linear":
        return None
    layer: Any = module
    names = layer.active_adapters
    if type(layer.base_layer) is not nn.Linear or len(names) != 1 or layer.lora_variant or layer.fan_in_fan_out:
        return None
    a, b = layer.lora_A[names[0]], layer.lora_B[names[0]]
    plain = a.bias is None and b.bias is None and a.weight.dtype == layer.base_layer.weight.dtype
    return str(names[0]) if plain else None


def _forward(name: str, layer: Any, states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    import torch

    if layer.disable_adapters or layer.merged or args or kwargs:
        return type(layer).forward(layer, states, *args, **kwargs)  # type: ignore[no-any-return]
    rows = states.reshape(-1, states.shape[-1])
    output = torch.nn.functional.linear(rows, layer.base_layer.weight, layer.base_layer.bias)
    reduced = torch.nn.functional.linear(layer.lora_dropout[name](rows), layer.lora_A[name].weight)
    output = torch.addmm(output, reduced, layer.lora_B[name].weight.t(), alpha=layer.scaling[name])
    return output.view(*states.shape[:-1], output.shape[-1])
