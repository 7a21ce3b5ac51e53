"""AdaLoRA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.fields import Count, Names, Probability, Rate, Share, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.errors import ConfigError
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.freezing import Phase

if TYPE_CHECKING:
    import torch
    from torch import nn


_ADAPTER = "default"  # peft's name of the only adapter
_AVERAGES = ("exp_avg_ipt", "exp_avg_unc")


@config_class
class Adalora(LinearAdapter):
    """Train low-rank updates whose ranks are cut where they matter least, and the classifier.

    Zhang et al. 2023, arXiv:2303.10512. The training loss includes peft's penalty that keeps the updates' factors
    orthogonal. A training of one step keeps the initial ranks.
    """

    targets: Names = (QUERY_VALUE,)
    init_r: Count = 12
    """Rank of every update at the start."""
    target_r: Count | None = None
    """Mean rank of the updates at the end, less than init_r; two thirds of init_r if not given."""
    alpha: Rate = 16.0
    """Scale of the updates, relative to init_r."""
    lora_dropout: Probability = 0.0
    """Dropout on the input of the updates."""
    first_share: Share = 0.1
    """Share of all steps, at the start, in which no rank is cut."""
    last_share: Share = 0.4
    """Share of all steps, at the end, in which the ranks stay as they are."""
    interval: Count = 10
    """Ranks are cut every so many steps in between."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Every rank at the start but the first, one less."""
        return range(1, context.encoder.hidden_size)

    def sized(self, size: int) -> dict[str, Any]:
        """The ranks at the start, and two thirds of them at the end."""
        return {"init_r": size + 1, "target_r": Adalora(init_r=size + 1).last_r}

    @property
    def last_r(self) -> int:
        """Mean rank at the end."""
        return self.target_r or max(1, 2 * self.init_r // 3)

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The updates and the head, all the time."""
        messages = []
        if self.last_r >= self.init_r:
            messages.append(f"adalora: target_r={self.last_r} is not below init_r={self.init_r}. Choose less, or use lora.")
        if self.first_share + self.last_share >= 1:
            messages.append(
                f"adalora: first_share={self.first_share:g} and last_share={self.last_share:g} leave no step to cut ranks in."
            )
        if messages:
            raise ConfigError(*messages)
        return super().phases(context)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """AdaLoRA's config; its schedule counts in steps."""
        return peft.AdaLoraConfig(
            init_r=self.init_r,
            target_r=self.last_r,
            lora_alpha=self.alpha,
            lora_dropout=self.lora_dropout,
            tinit=int(self.first_share * context.total_steps),
            tfinal=int(self.last_share * context.total_steps),
            deltaT=self.interval,
            total_step=context.total_steps,
            **shared,
        )

    def penalty(self, model: nn.Module) -> torch.Tensor | None:
        """Peft's penalty: the mean Frobenius norm of AAᵀ - I and BᵀB - I, which are 0 for orthogonal factors, times a weight.

        It adds it only to a loss that the model computes, which is not asked to.
        """
        import torch

        tuner: Any = model.base_model
        distances: list[torch.Tensor] = []
        for name, factor in tuner.model.named_parameters():
            if _ADAPTER in name and ("lora_A" in name or "lora_B" in name):
                product = factor @ factor.T if "lora_A" in name else factor.T @ factor
                distances.append(torch.norm(product - torch.eye(len(product), out=torch.empty_like(product)), p="fro"))
        weight: float = tuner.peft_config[_ADAPTER].orth_reg_weight
        return weight * (sum(distances[1:], distances[0]) / len(distances))

    def after_step(self, model: nn.Module, step: int) -> None:
        """Weigh the updates by their gradients and, when it is time, cut ranks.

        In fp16 a step whose gradient overflows is left out. Peft makes its last cut at one step alone, and expects that an
        earlier one was weighed; here the next step that is taken makes up for it.
        """
        tuner: Any = model.base_model
        config, allocator = tuner.peft_config[_ADAPTER], tuner.rankallocator
        last = config.total_step - config.tfinal
        if last <= 1:  # nothing is weighed before the last cut
            return
        if step >= last:
            if not config.rank_pattern and not allocator.exp_avg_ipt:  # all steps before were left out
                allocator.update_ipt(tuner.model)
            if allocator.exp_avg_ipt:  # forgotten after the last cut
                step = last
        tuner.update_and_allocate(step)

    def state(self, model: nn.Module) -> dict[str, Any]:
        """The averages by which updates are weighed, and which of them were cut."""
        tuner: Any = model.base_model
        averages = {name: getattr(tuner.rankallocator, name) for name in _AVERAGES}
        return {**averages, "rank_pattern": tuner.peft_config[_ADAPTER].rank_pattern}

    def restore(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Put them back."""
        tuner: Any = model.base_model
        allocator, parameters = tuner.rankallocator, dict(tuner.model.named_parameters())
        for average in _AVERAGES:
            values = {name: tensor.to(parameters[name].device) for name, tensor in state[average].items()}
            setattr(allocator, average, values)
            allocator.ipt = dict(values)  # overwritten before it is read, but its keys say what is known
        tuner.peft_config[_ADAPTER].rank_pattern = state["rank_pattern"]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates, and ranks to end with."""
        ends = tuple(rank for rank in (2, 4, 8) if rank < self.init_r) or (self.last_r,)
        return {"learning_rate": LogUniform(3e-4, 5e-3), "target_r": Choices(ends)}
