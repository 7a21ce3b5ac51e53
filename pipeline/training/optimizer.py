"""The optimizer with a group per learning rate and decay, and the learning rate by step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.config.fields import OptimizerName, Schedule
from pipeline.strategies.parameter_plan import ParameterPlan, PlannedParameter

if TYPE_CHECKING:
    import torch
    from torch import nn


def warmup_steps(total_steps: int, warmup_ratio: float) -> int:
    """Steps over which the rate rises; in the first of them it is zero."""
    return math.ceil(total_steps * warmup_ratio)


def build_schedule(total_steps: int, warmup_ratio: float, schedule: Schedule = "linear") -> Callable[[int], float]:
    """Share of the peak rate at a step counted from 0: up linearly over the warm-up, then as `schedule` says.

    A function of the step alone, so nothing of it goes into checkpoints. The same to the bit as those of transformers'
    `get_scheduler` ("constant" as its `constant_with_warmup`), whose module imports the Trainer's helpers and peft.
    """
    warmup = warmup_steps(total_steps, warmup_ratio)
    falling = max(1, total_steps - warmup)

    def share(step: int) -> float:
        if step < warmup:
            return step / warmup
        if schedule == "constant":
            return 1.0
        if schedule == "linear":
            return max(0.0, (total_steps - step) / falling)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((step - warmup) / falling))))

    return share


def build_optimizer(
    model: nn.Module, plan: ParameterPlan, weight_decay: float, optimizer: OptimizerName = "adamw"
) -> torch.optim.Optimizer:
    """The optimizer with one group per rate and decay.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) is torch's. Adafactor (Shazeer and Stern 2018, arXiv:1804.04235) is
    transformers', as its Trainer makes it: rates come from the schedule and are no share of the weights' size, so they are of
    AdamW's order.

    Parameters that a later phase unfreezes are members from the first step: an optimizer built from `requires_grad` would
    never train them. While frozen they have no gradient, and either optimizer passes over them without decay.
    """
    import torch

    by_name = dict(model.named_parameters())
    groups: dict[tuple[tuple[float, ...], bool], list[torch.nn.Parameter]] = defaultdict(list)
    for parameter in plan.trainable:
        groups[parameter.lr_multipliers, decays_weights(parameter)].append(by_name[parameter.name])
    members = [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "lr_multipliers": lr_multipliers}
        for (lr_multipliers, decays), parameters in groups.items()
    ]
    if optimizer == "adafactor":
        from transformers.optimization import Adafactor

        adafactor: torch.optim.Optimizer = Adafactor(members, lr=0.0, scale_parameter=False, relative_step=False)
        return adafactor
    return torch.optim.AdamW(members, lr=0.0, fused=True)


def set_learning_rate(optimizer: Any, rate: float, phase: int) -> None:
    """Give every group its factor, in this phase, of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_multipliers"][phase]


_SCALES = frozenset({"ia3_l", "boft_s"})
"""Vectors that peft keeps as matrices of one row or column. They begin as 1, and would decay to 0."""


def decays_weights(parameter: PlannedParameter) -> bool:
    """Biases and layer norms are spared, as in BERT's own training: both are vectors, as are the scales of (IA)³ and BOFT.

    A matrix of one row may be anything else, such as half of LoRA's of rank 1.
    """
    return len(parameter.shape) > 1 and _SCALES.isdisjoint(parameter.name.split("."))
