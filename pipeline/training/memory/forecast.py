"""Peak memory of a training before it is begun: its own steps on tensors that have shapes and no values.

The model, its strategy, the optimizer, the accelerations and the loop's own functions run under torch's `FakeTensorMode`.
Operators then compute shapes alone, so a step takes next to no memory and time; `TensorMemory` counts what would be alive.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.batching import Examples, inference_batches, load_batch
from pipeline.errors import PipelineError, in_one_line, shorten
from pipeline.modeling.gradient_checkpointing import recomputed_layers
from pipeline.training.acceleration.base import accelerated
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.distributed import ALONE, Share
from pipeline.training.inputs import InputsByPhase
from pipeline.training.loop import compute_gradients, make_accelerator, update_weights
from pipeline.training.optimizer import build_optimizer
from pipeline.training.plan import FitPlan
from pipeline.training.precision import Precision
from pipeline.training.setup import EncoderInputs, Texts, plan_fit, put_together
from pipeline.training.solved_heads.contrastive import pair_up

if TYPE_CHECKING:
    from torch import nn

    from pipeline.training.memory.tensor_memory import TensorMemory


@dataclass(frozen=True)
class Memory:
    """Bytes that a training's tensors take, by kind: weights, gradients, optimizer, activations."""

    at_peak: Mapping[str, int]
    """Of each kind when all together are at their highest."""
    highest: Mapping[str, int]
    """Of each kind at its own highest: of gradients that is after the backward pass, when few activations are left."""

    @property
    def total(self) -> int:
        """All kinds together at their highest."""
        return sum(self.at_peak.values())


def forecast(plan: FitPlan) -> Memory:
    """The peak memory of a training on a CPU; the plan's model loses its values.

    Every batch is taken to be a whole one of the longest texts. Two steps of each phase are computed, as the optimizer's state
    is there from the second on, and the largest batch of an evaluation. What frozen layers make of a batch is computed in the
    step, as it would be without the activation cache: the cache is filled in batches of that size.
    """
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    from pipeline.training.memory.tensor_memory import TensorMemory

    is_cached = plan.activation_cache is not None
    plan = pair_up(replace(plan, activation_cache=None))
    memory, is_done = TensorMemory(), False
    with FakeTensorMode(allow_non_fake_inputs=True):
        _forget_values(plan.model)
        layers = recomputed_layers(plan.model, plan.encoder) if plan.config.gradient_checkpointing else contextlib.nullcontext()
        # On a CPU accelerate computes fp16 in fp32; bf16 has the same sizes.
        accelerator = make_accelerator("bf16" if plan.precision == "fp16" else plan.precision, cpu=True)
        try:
            memory.count_model(plan.model)  # whole, as an acceleration makes tables smaller and keeps what they were
            with memory, accelerated(plan, accelerator.device) as accelerated_plan, layers:
                _train(accelerated_plan, accelerator, memory, is_cached)
                is_done = True
        except DataDependentOutputException:  # by an acceleration that puts values back, of which there are none
            if not is_done:
                raise
    return Memory(dict(memory.at_peak), dict(memory.highest))


class NotForecastError(PipelineError):
    """The memory of a training cannot be foretold; the message says why."""


def forecast_training(inputs: EncoderInputs, texts: Texts, precision: Precision, batch_size: int | None = None) -> Memory:
    """The peak memory of a training, or of the same in batches of another size.

    Raises:
        ConfigError: The strategy does not fit the model.
        NotForecastError: A step needs the tensors' values.
    """
    if batch_size is not None:
        inputs = replace(inputs, config=replace(inputs.config, batch_size=batch_size))
    plan = plan_fit(inputs, texts, put_together(inputs), precision, CheckpointFolder(Path()))
    try:
        return forecast(plan)
    except Exception as error:  # torch has several; a strategy or a head may be the user's own
        raise NotForecastError(f"a step of it needs more than shapes ({shorten(in_one_line(error), 200)})") from error


_MOST_FORECASTS = 8


def largest_batch(total_of: Callable[[int], int], limit: int, begin: int, least: int, most: int) -> int:
    """The largest batch that is forecast to fit; 0 if not even the smallest does.

    Memory is linear in the batch but for kinks, so a guess lies on the line through the last two forecasts. Where a few do not
    settle it, the largest that was seen to fit is taken.

    Args:
        total_of: Forecasts the bytes that batches of some size take.
        limit: Bytes that there are.
        begin: Where to begin; between `least` and `most`.
    """
    fits, too_large, guess = least - 1, most + 1, begin
    line: list[tuple[int, int]] = []
    for _ in range(_MOST_FORECASTS):
        line = [*line[-1:], (guess, total_of(guess))]
        if line[-1][1] <= limit:
            fits = guess
        else:
            too_large = guess
        if too_large - fits <= 1:
            break
        rise = (line[-1][1] - line[0][1]) / (line[-1][0] - line[0][0]) if len(line) > 1 else 0.0
        further = 2 * guess if fits == guess else guess // 2
        guess = guess + math.floor((limit - line[-1][1]) / rise) if rise > 0 else further
        guess = min(max(guess, fits + 1), too_large - 1)
    return fits if fits >= least else 0


def _train(plan: FitPlan, accelerator: Any, memory: TensorMemory, is_cached: bool) -> None:
    """Compute once what a training computes again and again."""
    config, device, progress = plan.config, accelerator.device, plan.begin()
    model = accelerator.prepare_model(plan.model, device_placement=False, evaluation_mode=True)
    optimizer = accelerator.prepare(build_optimizer(plan.model, plan.parameters, config.weight_decay, config.optimizer))
    loss = plan.build_loss()
    inputs_by_phase = InputsByPhase(plan, _ignore, device, ALONE)
    share = Share(_longest(plan.train.lengths, plan.micro_batch(1)), 1.0)
    for phase in sorted({plan.parameters.phase_of(epoch) for epoch in range(config.epochs)}):
        plan.parameters.enter_phase(plan.model, phase)
        memory.count_model(plan.model)
        inputs = inputs_by_phase.of(phase, progress, progress.pieces)
        for _ in range(0 if plan.strategy.is_solved else 2):
            model.train()
            compute_gradients(plan, accelerator, model, loss, inputs, share, progress.pieces)
            with memory.making("optimizer"):
                update_weights(plan, accelerator, optimizer, -1)  # AdaLoRA reads values where it cuts ranks, which is later
        if plan.strategy.is_solved and not is_cached:  # by the features of all training texts
            _predict(model, inputs.train, device, plan.largest_batch(progress.pieces))
        _predict(model, inputs.validation, device, plan.largest_batch(progress.pieces))


def _ignore(examples: int, total: int) -> None:
    """Is told how far the activation cache is, which is not filled here."""


def _predict(model: nn.Module, examples: Examples, device: Any, max_tokens: int) -> None:
    """The batch of longest texts of those in which `predict_outputs` computes."""
    import torch

    model.eval()
    batches = inference_batches(examples.lengths, device, max_tokens)
    with torch.no_grad():
        batch = load_batch(examples, batches[0], device)
        with examples.as_model_input():
            model(**batch.inputs)


def _longest(lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices of so many of the longest examples, some of them again where there are fewer; shape [count]."""
    return np.resize(np.argsort(-lengths, kind="stable")[:count], count)


def _forget_values(model: nn.Module) -> None:
    """Put tensors without values in the place of the model's own; what was one tensor stays one.

    Tensors of a class of their own stay, such as bitsandbytes' packed weights: they carry what tells how to unpack them.
    """
    import torch

    without: dict[int, Any] = {}

    def forget(tensor: torch.Tensor) -> torch.Tensor:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            return tensor
        if id(tensor) not in without:
            empty = torch.empty_like(tensor, device="cpu")
            if isinstance(tensor, torch.nn.Parameter):
                empty = torch.nn.Parameter(empty, requires_grad=tensor.requires_grad)
            without[id(tensor)] = tensor, empty  # the tensor, too, so that its id is not given again
        return without[id(tensor)][1]  # type: ignore[no-any-return]

    for module in model.modules():
        owned: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for own in owned:
            for name, tensor in own.items():
                if tensor is not None:
                    own[name] = forget(tensor)
