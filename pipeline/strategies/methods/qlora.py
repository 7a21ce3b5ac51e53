"""QLoRA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.config.fields import config_class
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn


@config_class
class Qlora(Lora):
    """Train LoRA's updates of weights that are held in four bits, and the classifier (Dettmers et al. 2023, arXiv:2305.14314).

    4-bit NormalFloat with double quantisation by bitsandbytes; classifier and pooler are not quantised.
    """

    @property
    def packages(self) -> tuple[str, ...]:
        """Not installed with the project because it makes every start of peft slower."""
        return ("bitsandbytes",)

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap as LoRA does, after two things that a CPU needs.

        bitsandbytes must not pack the weights anew when the model is first evaluated: the packed ones are rounded differently,
        so training would depend on how often it was evaluated before. And the weights that are not packed must not be part of
        the mapped file: while one of them is, what was read of all others stays in memory, more than packing saves.
        """
        for parameter in model.parameters():
            if parameter.device.type == "cpu" and parameter.is_floating_point():
                parameter.data = parameter.data.clone()
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
        return super().adapt(model, context)

    def load_kwargs(self, context: StrategyContext) -> dict[str, Any]:
        """Quantise while loading, onto the device that will train."""
        import torch
        from transformers import BitsAndBytesConfig

        encoder = context.encoder
        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.float32,
                llm_int8_skip_modules=[*encoder.head_modules, *([encoder.pooler] if encoder.pooler else [])],
            ),
            "device_map": {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"},
        }
