"""Whole training steps as CUDA graphs, where an encoder's step waits for Python and not for arithmetic.

A step of an encoder launches some hundred kernels of a few microseconds each. A graph launches all of them at once; it holds
for one shape of the batch, so batches are padded to few lengths, and a shape that comes often enough is captured.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.data.batching import Batch, move
from pipeline.strategies.base import Strategy
from pipeline.training.acceleration.base import Acceleration, Target

if TYPE_CHECKING:
    import torch

    from pipeline.training.plan import FitPlan

    Step = Callable[[Batch], torch.Tensor]
    """Forward and backward pass, clipping and the optimizer's step on one batch; the detached loss."""


_VISITS = 2
"""Steps of a shape before it is captured: kernels are loaded and the optimizer's state is made by then."""
_WORTH = 10
"""Expected further steps of a shape that make up for capturing it."""


class CudaGraphs(Acceleration):
    """Steps as CUDA graphs. Nothing is patched: where it applies, the loop runs its steps by `StepGraphs`."""

    def applies(self, target: Target) -> bool:
        """Where a training's steps can be graphs, unless `--cuda-graphs off` says otherwise."""
        plan = target.plan
        return plan is not None and plan.config.cuda_graphs == "auto" and graphs_apply(plan, target.device)

    def patch(self, target: Target) -> contextlib.AbstractContextManager[None]:
        """Nothing."""
        return contextlib.nullcontext()


def graphs_apply(plan: FitPlan, device: torch.device) -> bool:
    """Whether a step is the same work at every step of a shape, all of it on one GPU, and asked of nobody else.

    Not so with a scaler of gradients (fp16), with several processes, with a strategy that acts after each step, with
    quantised weights, with batches in pieces or that may come to be, with layers that are computed anew, as that puts random
    generators back, and with Adafactor, whose decay rate is another number in every step.
    """
    config = plan.config
    return (
        device.type == "cuda"
        and plan.precision != "fp16"
        and config.num_processes == config.gradient_accumulation_steps == 1
        and not (config.gradient_checkpointing or config.auto_batch)
        and config.optimizer == "adamw"
        and type(plan.strategy).after_step is Strategy.after_step
        and all(parameter.is_floating_point() for parameter in plan.model.parameters())
    )


class StepGraphs:
    """Runs steps: a shape's first ones as they are, later ones as a graph; all as they are once capturing has failed.

    The graphs share memory, so no two of them hold anything at once: what goes in and comes out lies outside. torch's global
    generator on the GPU knows of them: dropout draws anew in each replay.
    """

    def __init__(self, optimizer: Any, total_steps: int) -> None:
        """Capture nothing yet.

        Args:
            optimizer: A fused AdamW whose state is restored already, if it is.
            total_steps: How many are to come.
        """
        import torch

        self._optimizer, self._left = optimizer, total_steps
        groups = optimizer.param_groups
        self._device = groups[0]["params"][0].device
        self._rates = torch.zeros(len(groups), device=self._device)
        self._loss = torch.zeros((), device=self._device)
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[Any, tuple[Any, Batch]] = {}
        self._visits: Counter[Any] = Counter()
        self._phase = 0
        self.failed = False

    @property
    def captured(self) -> int:
        """How many shapes of the present phase are graphs."""
        return len(self._graphs)

    def run(self, step: Step, batch: Batch, phase: int) -> torch.Tensor:
        """Take the step on the batch, which is on the GPU; the loss.

        Args:
            step: Computes the same in every step of a phase.
        """
        import torch

        if self.failed:
            return step(batch)
        if phase != self._phase:  # other parameters train
            self._graphs.clear()
            self._visits.clear()
            self._phase, self._pool = phase, torch.cuda.graph_pool_handle()  # a pool whose graphs are gone takes no new ones
        shape = tuple((name, tuple(tensor.shape)) for name, tensor in batch.inputs.items())
        self._send_rates()
        if shape not in self._graphs and self._is_worth(shape):
            self._capture(step, batch, shape)
        self._visits[shape] += 1
        self._left -= 1
        if shape in self._graphs:
            graph, fixed = self._graphs[shape]
            _copy(batch, fixed)
            graph.replay()
            return self._loss.clone()  # before another step's comes into its place
        if self.failed:
            return step(batch)
        with self._rates_as_tensors():
            return step(batch)

    def _is_worth(self, shape: Any) -> bool:
        visits = self._visits[shape]
        return visits >= _VISITS and visits / self._visits.total() * self._left >= _WORTH

    def _capture(self, step: Step, batch: Batch, shape: Any) -> None:
        import torch

        fixed = replace(
            batch, inputs={name: tensor.clone() for name, tensor in batch.inputs.items()}, labels=batch.labels.clone()
        )
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        generator = torch.cuda.default_generators[self._device.index or 0]
        spare = generator.clone_state()
        try:
            with self._rates_as_tensors(capturable=True), torch.cuda.graph(graph, pool=self._pool):
                self._loss.copy_(step(fixed))
        except RuntimeError as error:  # what torch raises where a model does what no graph can hold, or memory is short
            # A broken capture leaves torch on its stream, and the generator as one that belongs to a graph.
            torch.cuda.set_stream(stream)
            generator.graphsafe_set_state(spare)
            self._optimizer.zero_grad()
            self._graphs.clear()
            self.failed = True
            reason = str(error.__context__ or error).partition("\n")[0][:160]
            logging.getLogger(__name__).warning(f"Steps go on without CUDA graphs, which this model does not allow ({reason}).")
        else:
            self._graphs[shape] = graph, fixed

    def _send_rates(self) -> None:
        import torch

        rates = torch.tensor([group["lr"] for group in self._optimizer.param_groups])
        self._rates.copy_(move(rates, self._device))

    @contextlib.contextmanager
    def _rates_as_tensors(self, capturable: bool = False) -> Iterator[None]:
        """Within the block the optimizer reads its rates from the GPU; outside they are numbers, as checkpoints keep them."""
        groups = self._optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        try:
            for group, rate in zip(groups, self._rates.unbind(), strict=True):
                group["lr"], group["capturable"] = rate, capturable
            yield
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group["lr"], group["capturable"] = number, False


def _copy(batch: Batch, into: Batch) -> None:
    """Nobody waits: both are on the GPU."""
    for name, tensor in batch.inputs.items():
        into.inputs[name].copy_(tensor)
    into.labels.copy_(batch.labels)
