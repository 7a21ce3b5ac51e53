"""Several seeds of one strategy in one step, beside seeds one by one. The product trains them one by one: docs/adr/0027.

A step takes a batch of every seed through the frozen base at once, each with its own adapters, by `torch.func.vmap`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy, pad

from benchmarks.gpu_inputs import Cell, Workshop, forget
from benchmarks.gpu_probe import device
from benchmarks.gpu_steps import Clock, measure_ours, plan_of
from pipeline.data.batching import Batch, TokenExamples, plan_epoch
from pipeline.training.acceleration.base import accelerated
from pipeline.training.acceleration.patches.cuda_graphs import StepGraphs
from pipeline.training.loop import fit, make_accelerator
from pipeline.training.optimizer import build_schedule, decays_weights, set_learning_rate
from pipeline.training.plan import FitPlan
from pipeline.training.seeding import Seeds

_LENGTH_MULTIPLE = 8


class SeedsTogether:
    """Trainings that differ in their seeds, as one. Their plans are those of frozen-base strategies with one phase."""

    def __init__(self, plans: Sequence[FitPlan]) -> None:
        """Stack what trains, and what differs: weights become [seeds, ...]."""
        self._plans, self._plan = plans, plans[0]
        self._config = self._plan.config
        self._accelerator = make_accelerator(self._plan.precision)
        self._model = self._plan.model.to(device()).train()
        self._plan.parameters.enter_phase(self._model, 0)
        trained = {planned.name: planned for planned in self._plan.parameters.trainable}
        named = [dict(plan.model.named_parameters()) for plan in plans]
        self.weights: dict[str, torch.Tensor] = {}
        groups: dict[tuple[tuple[float, ...], bool], list[torch.Tensor]] = {}
        for name, first in named[0].items():
            others = [each[name].detach().to(first.device) for each in named]
            if name in trained or not all(torch.equal(first, other) for other in others):
                weight = self.weights[name] = torch.stack(others)
                if name in trained:
                    key = trained[name].lr_multipliers, decays_weights(trained[name])
                    groups.setdefault(key, []).append(weight.requires_grad_())
        members = [
            {"params": weights, "weight_decay": self._config.weight_decay if decays else 0.0, "lr_multipliers": multipliers}
            for (multipliers, decays), weights in groups.items()
        ]
        self._optimizer = torch.optim.AdamW(members, lr=0.0, fused=True)
        self._trained = [weight for weights in groups.values() for weight in weights]
        self._schedule = build_schedule(self._plan.total_steps, self._config.warmup_ratio, self._config.lr_scheduler_type)

    def train(self) -> Iterator[torch.Tensor]:
        """Take step after step, for as many epochs as are asked for; the losses of each, shape [seeds], or their sum."""
        with accelerated(self._plan, device()) as plan:
            graphs = StepGraphs(self._optimizer, plan.total_steps) if "cuda_graphs" in plan.accelerations else None
            for number, batch in enumerate(self._batches()):
                set_learning_rate(self._optimizer, self._config.learning_rate * self._schedule(number), 0)
                yield graphs.run(self._sum, batch, 0) if graphs else self._step(batch)

    def _batches(self) -> Iterator[Batch]:
        """A whole batch of every seed, of the same texts: inputs of shape [seeds, examples, length], padded to the longest."""
        examples = [TokenExamples(plan.train, plan.pad_id) for plan in self._plans]  # type: ignore[arg-type]
        size = self._config.batch_size
        for epoch in itertools.count():
            orders = [plan_epoch(plan.train.lengths, size, Seeds.of(plan.config).order, epoch) for plan in self._plans]
            whole = [[indices for indices in order if len(indices) == size] for order in orders]
            for chosen in zip(*whole, strict=True):
                batches = [each.batch(indices) for each, indices in zip(examples, chosen, strict=True)]
                longest = max(batch.shape[1] for batch in batches)
                longest = min(-(-longest // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE, examples[0].longest)
                inputs = {}
                for name, value in {"input_ids": self._plan.pad_id, "attention_mask": 0}.items():
                    wide = [pad(batch.inputs[name], (0, longest - batch.shape[1]), value=value) for batch in batches]
                    inputs[name] = torch.stack(wide)
                labels = torch.stack([batch.labels for batch in batches])
                yield Batch(inputs, labels, sum(batch.tokens for batch in batches), (size, longest)).to(device())

    def _sum(self, batch: Batch) -> torch.Tensor:
        return self._step(batch).sum()

    def _step(self, batch: Batch) -> torch.Tensor:
        def answer(weights: dict[str, torch.Tensor], ids: torch.Tensor, mask: torch.Tensor) -> Any:
            # Of shape [examples, 1, length, length] no mask is made, which would ask for values.
            whole = mask.bool()[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
            return functional_call(self._model, weights, kwargs={"input_ids": ids, "attention_mask": whole}).logits

        # The quick dropout of a CPU knows one draw for all only.
        randomness = "different" if device().type == "cuda" else "same"
        with self._accelerator.autocast():
            logits = vmap(answer, randomness=randomness)(self.weights, *batch.inputs.values())
        labels = batch.labels.flatten()
        losses = cross_entropy(logits.flatten(0, 1).float(), labels, reduction="none").view(batch.labels.shape).mean(1)
        losses.sum().backward()
        gradients = [weight.grad for weight in self._trained if weight.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
        scale = (self._config.max_grad_norm / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
        self._optimizer.step()
        self._optimizer.zero_grad()
        return losses.detach()


def plans_of(workshop: Workshop, cell: Cell, count: int, same_order: bool, steps: int, **options: Any) -> list[FitPlan]:
    """The plans of so many seeds; in the same order their batches are the same, as those of a search's trials are."""
    order = {"data_seed": 0} if same_order else {}
    configs = [workshop.config(cell, steps, seed=seed, **order, **options) for seed in range(count)]
    return [plan_of(workshop, config) for config in configs]


def measure_together(workshop: Workshop, cell: Cell, count: int, same_order: bool, seconds: float) -> dict[str, Any]:
    """Milliseconds that a step of one seed takes alone, and as its share of a step of all."""
    alone = measure_ours(workshop, cell, seconds)
    held = forget()
    plans = plans_of(workshop, cell, count, same_order, workshop.rows, epochs=8)
    clock = Clock(seconds, workshop.warm_up_of_ours(cell, True))
    for number, _ in enumerate(SeedsTogether(plans).train(), 1):
        clock.on_step(number, plans[0].total_steps)
        if clock.should_stop():
            break
    found = clock.found(plans[0].config.batch_size)
    share = found["ms"] / count
    return {
        **found,
        "held_before_mb": held,
        "ms_of_a_seed": share,
        "alone_ms": alone["ms"],
        "alone / together": alone["ms"] / share,
    }


def compare_together(workshop: Workshop, cell: Cell, count: int, steps: int) -> dict[str, float]:
    """The largest relative difference between the losses of seeds trained together and alone; float32, without dropout."""
    settings = {"precision": "fp32", "dropout": 0.0, "logging_steps": 1}
    alone = []
    for plan in plans_of(workshop, cell, count, False, steps, **settings):
        clock = Clock(3600.0)
        fit(plan, clock)
        alone.append(clock.losses)
    losses = SeedsTogether(plans_of(workshop, cell, count, False, steps, cuda_graphs="off", **settings)).train()
    together = [next(losses).tolist() for _ in range(steps)]
    pairs = [(one, alone[seed][step]) for step, each in enumerate(together) for seed, one in enumerate(each)]
    return {"steps": steps, "largest_relative_difference": max(abs(one - other) / abs(other) for one, other in pairs)}
