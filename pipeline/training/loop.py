"""The training loop. It knows nothing of trackers, files of data, or terminals."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline import interruption
from pipeline.data.batching import Batch, Examples, cut_batch, load_batch
from pipeline.errors import PipelineError
from pipeline.failures import is_out_of_memory
from pipeline.modeling.gradient_checkpointing import recomputed_layers
from pipeline.training.acceleration.base import accelerated
from pipeline.training.acceleration.patches.cuda_graphs import StepGraphs
from pipeline.training.checkpoints import generator_states, restore_generators
from pipeline.training.distributed import DistributedContext, Share, find_context
from pipeline.training.inference import predict_logits
from pipeline.training.inputs import InputsByPhase, PhaseInputs
from pipeline.training.memory.allocator import give_back_what_is_freed, keep_what_is_freed
from pipeline.training.meters import FlopCounter, Stopwatch
from pipeline.training.optimizer import build_optimizer, build_schedule, set_learning_rate
from pipeline.training.plan import (
    Callback,
    FitPlan,
    FitResult,
    Progress,
    naming_what_does_not_fit,
    note_evaluation,
    patience_is_over,
    read_losses,
    report,
)
from pipeline.training.precision import Precision
from pipeline.training.seeding import Seeds
from pipeline.training.solved_heads.closed_form import solve_head
from pipeline.training.solved_heads.contrastive import fit_classifier, pair_up, trained_outputs

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.objectives.loss import Loss

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


def fit(plan: FitPlan, callback: Callback) -> FitResult:
    """Train `plan.model` and leave the best checkpoint's weights in it.

    Goes on from the newest checkpoint in `plan.checkpoints` if there is one; on a CPU the end is then bit-equal to that of an
    uninterrupted run. With `num_processes` every process calls this, and all leave with the same weights; only process 0 asks
    its callback whether to stop, and heeds signals, and both at logging points and evaluations alone.

    Raises:
        TrainingError: The loss became NaN or infinite.
        SystemFailureError: The memory does not suffice; says for what, and what to lower.
        Interrupted: The process was asked to end; there is a checkpoint of the last whole step.
    """
    plan, distributed = pair_up(plan), find_context(plan.config.num_processes)
    accelerator = make_accelerator(plan.precision, **distributed.accelerator_options())
    layers = recomputed_layers(plan.model, plan.encoder) if plan.config.gradient_checkpointing else contextlib.nullcontext()
    if plan.config.auto_batch:
        give_back_what_is_freed()
    elif not plan.config.gradient_checkpointing:  # whoever gives that wants little resident
        keep_what_is_freed()
    named = naming_what_does_not_fit(plan)
    with named, accelerated(plan, accelerator.device) as accelerated_plan, layers, interruption.held():
        train = _solve if plan.strategy.is_solved else _fit
        return train(accelerated_plan, callback, accelerator, distributed)


def _fit(plan: FitPlan, callback: Callback, accelerator: Any, distributed: DistributedContext) -> FitResult:
    from torch import manual_seed, stack

    seeds = Seeds.of(plan.config)
    optimizer = build_optimizer(plan.model, plan.parameters, plan.config.weight_decay, plan.config.optimizer)
    model = accelerator.prepare_model(plan.model, evaluation_mode=True)  # not wrapped: the world does that, anew in every phase
    optimizer = accelerator.prepare(optimizer)
    manual_seed(distributed.seed(seeds.dropout))
    restored = plan.checkpoints.restore(
        plan.model, plan.parameters, optimizer, accelerator.scaler, plan.strategy, distributed.rank
    )
    progress = plan.begin(restored)
    resumed_from = progress.step
    schedule = build_schedule(plan.total_steps, plan.config.warmup_ratio, plan.config.lr_scheduler_type)
    watch = Stopwatch(progress.train_seconds)
    loss = plan.build_loss().to(accelerator.device)
    inputs_by_phase = InputsByPhase(plan, callback.on_cache_progress, accelerator.device, distributed)
    graphs = None
    if "cuda_graphs" in plan.accelerations:
        graphs = StepGraphs(optimizer, plan.total_steps - progress.step)
    losses: list[torch.Tensor] = []  # read at logging points only, all at once: reading waits for the device

    def save() -> None:
        with watch.running():
            read_losses(progress, stack(distributed.average(losses)).tolist() if losses else [])
            losses.clear()
        progress.train_seconds = watch.seconds
        state = asdict(progress), plan.strategy, distributed.gather(generator_states())
        write = partial(plan.checkpoints.save, progress.step, progress.best_step, plan.model, plan.parameters)
        ended = progress.stopped or progress.step == plan.total_steps
        distributed.broadcast(partial(write, None if ended else optimizer, accelerator.scaler, *state))

    def evaluate(inputs: PhaseInputs, stop: bool = False) -> None:
        try:
            with watch.running():
                fit = partial(fit_classifier, plan, model, accelerator.device)
                _within_memory(plan, progress, lambda pieces: fit(plan.largest_batch(pieces)))
            _evaluate(plan, progress, callback, model, inputs.validation, accelerator.device, distributed)
            # Asked again: whoever watches may have said so on hearing the scores, and the checkpoint shall know.
            stops = stop or distributed.agree(callback.should_stop, now=True)
            progress.stopped = stops or patience_is_over(plan.config, progress)
        except interruption.Interrupted as error:
            if error.is_in_order and plan.config.num_processes == 1:  # others do not know of it, and would have to save, too
                save()
            raise
        save()

    if plan.awaits_evaluation(progress):  # it was interrupted in the middle of one
        phase = plan.parameters.phase_of((progress.step - 1) // plan.steps_per_epoch)
        plan.parameters.enter_phase(plan.model, phase)
        evaluate(_within_memory(plan, progress, partial(inputs_by_phase.of, phase, progress)))
    while progress.step < plan.total_steps and not progress.stopped:
        epoch, position = divmod(progress.step, plan.steps_per_epoch)
        phase = plan.parameters.phase_of(epoch)
        plan.parameters.enter_phase(plan.model, phase)
        inputs = _within_memory(plan, progress, partial(inputs_by_phase.of, phase, progress))
        flops = FlopCounter.of(plan.encoder, plan.parameters, phase, inputs.uses_cache, plan.trims_last_layer)
        batches = plan.batches(seeds.order, epoch)
        wrapped = distributed.wrap(model, phase)
        wrapped.train()
        for indices in batches[position:]:
            with watch.running():
                rate = plan.config.learning_rate * schedule(progress.step)
                set_learning_rate(optimizer, rate, phase)
                compute = partial(compute_gradients, plan, accelerator, wrapped, loss, inputs, distributed.share(indices))
                update = partial(update_weights, plan, accelerator, optimizer, progress.step)
                is_whole = len(indices) == plan.config.batch_size  # the last batch of an epoch may be smaller
                if graphs and is_whole:
                    batch = load_batch(inputs.train, indices, accelerator.device)
                    losses.append(graphs.run(partial(_step, compute, update), batch, phase))
                else:
                    losses.append(_within_memory(plan, progress, compute))
                    update()
            progress.step += 1
            progress.examples += plan.train.count_texts(indices)
            progress.tokens += int(inputs.train.lengths[indices].sum())
            progress.flops += sum(
                flops.step(len(piece), int(inputs.train.lengths[piece].max()))
                for part in distributed.parts(indices)
                for piece in cut_batch(part, progress.pieces)
            )
            callback.on_step(progress.step, plan.total_steps)
            logs, evaluates = progress.step % plan.config.logging_steps == 0, plan.evaluation_is_due(progress.step)
            stop = distributed.agree(callback.should_stop, now=logs or evaluates)
            evaluates = evaluates or stop
            is_asked = distributed.agree(interruption.is_asked, now=logs or evaluates)
            if logs or evaluates:
                with watch.running():
                    read_losses(progress, stack(distributed.average(losses)).tolist())
                    losses.clear()
            if logs:
                mean = sum(progress.window) / len(progress.window)
                report(progress, callback, {"train/loss": mean, "train/learning_rate": rate})
                progress.window = []
            if is_asked:  # whoever resumes evaluates, if that is due
                save()
                interruption.admit()
            if evaluates:
                evaluate(inputs, stop)
                if progress.stopped:
                    break
            try:
                callback.check()
            except PipelineError:
                if plan.config.num_processes == 1:  # the others would have to save, too, and have nothing to raise
                    save()
                raise
    if progress.best_step != progress.step:
        plan.checkpoints.load_weights(progress.best_step, plan.model, plan.parameters)
    accelerator.free_memory()
    distributed.destroy()
    figures = {"cost/micro_batch": plan.micro_batch(progress.pieces)} if plan.config.auto_batch else {}
    if plan.labelled is not None:
        figures["data/train_pairs"] = len(plan.train)
    return replace(progress.result(plan.total_steps, resumed_from), figures=figures)


def _within_memory(plan: FitPlan, progress: Progress, compute: Callable[[int], T]) -> T:
    """What `compute` makes, which is told in how many pieces; with `--auto-batch` in twice as many until they fit.

    What is begun again draws the same numbers, so the end is that of a training that had as many pieces before.
    """
    from accelerate.utils.memory import clear_device_cache

    while True:
        generators = generator_states() if plan.config.auto_batch else {}
        try:
            return compute(progress.pieces)
        except Exception as error:
            if not plan.config.auto_batch or plan.micro_batch(progress.pieces) == 1:
                raise
            clear_frames(error.__traceback__)  # of what was computed; there may be no memory to look at the error
            if not is_out_of_memory(error):
                raise
        # Behind the block, as the error holds on to what was computed.
        plan.model.zero_grad()
        clear_device_cache(garbage_collection=True)
        restore_generators(generators)
        size = plan.micro_batch(progress.pieces)
        progress.pieces *= 2
        _LOG.warning(
            "The memory does not suffice for %d examples at a time: from step %d on, a batch is computed in %d pieces.",
            size,
            progress.step + 1,
            progress.pieces,
        )


def compute_gradients(
    plan: FitPlan,
    accelerator: Any,
    wrapped: nn.Module,
    compare: Loss,
    inputs: PhaseInputs,
    share: Share,
    pieces: int,
    batch: Batch | None = None,
) -> torch.Tensor:
    """Add up the gradients of a batch; its loss, without what it was computed from.

    Args:
        share: What this process computes of the batch.
        pieces: In how many, of which one is loaded after another.
        batch: The share where it was loaded already, which is in one piece.
    """
    import torch

    losses = []
    shares = share.cut(pieces)
    for piece in shares:
        given = batch or load_batch(inputs.train, piece.indices, accelerator.device)
        is_last = piece is shares[-1]
        with contextlib.nullcontext() if is_last else accelerator.no_sync(wrapped):  # processes exchange gradients once a step
            with inputs.train.as_model_input(), trained_outputs(plan):
                loss = compare(wrapped(**given.inputs).logits, given.labels)
            with accelerator.autocast():
                penalty = plan.strategy.penalty(plan.model)
            loss = (loss if penalty is None else loss + penalty) * piece.weight
            accelerator.backward(loss)
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def update_weights(plan: FitPlan, accelerator: Any, optimizer: Any, step: int) -> None:
    """One optimizer step by the gradients that are there, after so many others."""
    norm = accelerator.clip_grad_norm_(plan.model.parameters(), plan.config.max_grad_norm)
    optimizer.step()
    # Under fp16 a step whose gradients overflow is skipped; only there is waiting for the norm worth it.
    if accelerator.scaler is None or bool(norm.isfinite()):
        plan.strategy.after_step(plan.model, step + 1)
    optimizer.zero_grad()


def _step(compute: Callable[[int, Batch], torch.Tensor], update: Callable[[], None], batch: Batch) -> torch.Tensor:
    """Both of a batch in one piece, as one CUDA graph holds it."""
    loss = compute(1, batch)
    update()
    return loss


def _solve(plan: FitPlan, callback: Callback, accelerator: Any, distributed: DistributedContext) -> FitResult:
    """All of training as one step, the strategy's `solve`. It is quick, so an interrupted one is begun anew."""
    model = accelerator.prepare_model(plan.model, evaluation_mode=True)
    progress, watch = plan.begin(), Stopwatch()
    plan.parameters.enter_phase(plan.model, 0)
    inputs = InputsByPhase(plan, callback.on_cache_progress, accelerator.device, distributed).of(0, progress, progress.pieces)
    solve = partial(solve_head, plan.strategy, model, plan.parameters, inputs.train, plan.build_loss(), accelerator.device)
    with watch.running():
        solution = _within_memory(plan, progress, lambda pieces: solve(plan.largest_batch(pieces)))
    progress.step, progress.loss_sum, progress.train_seconds = 1, solution.loss, watch.seconds
    progress.examples, progress.tokens = len(plan.train), int(plan.train.lengths.sum())
    for uses_cache, passes in ((inputs.uses_cache, 1), (True, solution.iterations - 1)):
        counter = FlopCounter.of(plan.encoder, plan.parameters, 0, uses_cache, plan.trims_last_layer)
        progress.flops += passes * counter.step(len(plan.train.lengths), round(float(plan.train.lengths.mean())))
    callback.on_step(1, 1)
    report(progress, callback, {"train/loss": solution.loss})
    _evaluate(plan, progress, callback, model, inputs.validation, accelerator.device, distributed)
    accelerator.free_memory()
    distributed.destroy()
    return progress.result(total_steps=1)


def make_accelerator(precision: Precision, **options: Any) -> Any:
    """Accelerate's handle on device and precision."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from torch.cuda import is_available

    AcceleratorState._reset_state(reset_partial_state=True)  # it is global; an earlier fit may have had another precision
    mixed = "no" if precision == "fp32" else precision
    # Never an Apple GPU, whose figures are not known here.
    return Accelerator(mixed_precision=mixed, **{"cpu": not is_available(), **options})


def _evaluate(
    plan: FitPlan,
    progress: Progress,
    callback: Callback,
    model: nn.Module,
    validation: Examples,
    device: Any,
    distributed: DistributedContext,
) -> None:

    def predict(pieces: int) -> NDArray[np.float32]:
        return predict_logits(model, validation, device, plan.largest_batch(pieces), distributed)

    with interruption.admitted():
        logits = _within_memory(plan, progress, predict)
    scores = distributed.broadcast(lambda: plan.task.score(plan.validation.labels, logits))
    note_evaluation(plan.config, progress, callback, scores)
