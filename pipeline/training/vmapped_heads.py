"""Many trainings of a head on a frozen encoder as one: the points of a search that vary only what the optimizer does.

Above a frozen encoder a step is so little work that nearly all of its time is overhead. Points with the same batch size see
the same batches, so one pass over the hidden states serves all of them: weights, moments and dropout are stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.config import FitConfig
from pipeline.config.fields import as_dict
from pipeline.data.batching import load_batch
from pipeline.errors import TrainingError
from pipeline.modeling.encoder import EncoderSpec
from pipeline.strategies.base import Strategy
from pipeline.strategies.parameter_plan import ParameterPlan
from pipeline.training.acceleration.base import accelerated
from pipeline.training.checkpoints import trained_state
from pipeline.training.distributed import DistributedContext, Share
from pipeline.training.inference import predict_logits
from pipeline.training.inputs import InputsByPhase, PhaseInputs
from pipeline.training.loop import make_accelerator
from pipeline.training.meters import FlopCounter, Stopwatch
from pipeline.training.optimizer import build_schedule
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

if TYPE_CHECKING:
    import torch


VARIED = frozenset(
    {
        "batch_size",
        "dropout",
        "early_stopping_patience",
        "epochs",
        "eval_steps",
        "learning_rate",
        "logging_steps",
        "lr_scheduler_type",
        "max_grad_norm",
        "metric_for_best_model",
        "warmup_ratio",
        "weight_decay",
    }
)
"""Options in which points that train together may differ."""


@dataclass(frozen=True)
class HeadFit:
    """What training one point came to."""

    result: FitResult | None
    """None if it failed."""
    history: list[tuple[int, dict[str, float]]]
    """(step, metrics) of all that its callback would have been told."""
    weights: dict[str, torch.Tensor]
    """Of the best checkpoint, by name."""
    error: TrainingError | None = None


def trains_head_alone(parameters: ParameterPlan, encoder: EncoderSpec, strategy: Strategy, precision: Precision) -> bool:
    """Whether trainings under this plan can be stacked: nothing below the head trains, all of it from the start.

    Not under fp16, where a point would skip steps alone, nor where the strategy takes part in every step or solves
    for the head.
    """
    phases = len(parameters.start_epochs)
    own = type(strategy)
    takes_part = strategy.is_solved or own.after_step is not Strategy.after_step or own.penalty is not Strategy.penalty
    return phases == 1 and parameters.lowest_layer(encoder, 0) == encoder.depth and not takes_part and precision != "fp16"


def differ_in_optimization_only(configs: Sequence[FitConfig]) -> bool:
    """Whether the configurations are of AdamW and equal but for what may vary among points that train together."""
    if configs[0].optimizer != "adamw":
        return False
    fixed = [{name: value for name, value in as_dict(config).items() if name not in VARIED} for config in configs]
    return all(other == fixed[0] for other in fixed)


def fit_heads(plan: FitPlan, configs: Sequence[FitConfig], callback: Callback) -> list[HeadFit]:
    """Train the head of `plan.model` once per configuration, and leave the model as it was.

    Each result is that of `fit` under the configuration by itself: the same batches, and, but for rounding, the same losses and
    weights. On a GPU, where `fit` leaves dropout to torch, the masks are others; on which points train beside they depend
    nowhere. Seconds of a step are shared equally among the points that take it. There are no checkpoints:
    an interrupted search of heads begins anew. A point whose loss is no number fails alone.

    Args:
        plan: All but its `config` and `checkpoints`, which are not used.
        configs: As `differ_in_optimization_only` holds.
        callback: Told of steps of the longest training of each batch size, and of the cache.
    """
    accelerator = make_accelerator(plan.precision)
    plan.model.to(accelerator.device)
    plan.parameters.enter_phase(plan.model, 0)
    shared = plan.begin()
    fits: dict[int, HeadFit] = {}
    largest = replace(plan, config=max(configs, key=lambda config: config.batch_size))
    named = naming_what_does_not_fit(largest, len(configs))
    with named, accelerated(replace(plan, config=configs[0]), accelerator.device) as plan:
        largest = replace(plan, config=largest.config)
        with accelerator.autocast():  # the frozen layers compute as they do in `fit`, with which states are shared
            feeds = InputsByPhase(largest, callback.on_cache_progress, accelerator.device, DistributedContext())
            inputs = feeds.of(0, shared, shared.pieces)
        for size in sorted({config.batch_size for config in configs}):
            members = [position for position, config in enumerate(configs) if config.batch_size == size]
            points = [_Point(replace(plan, config=configs[member]), Progress(cached=dict(shared.cached))) for member in members]
            _Group(points, inputs, accelerator, callback, largest.largest_batch(shared.pieces)).train()
            fits |= {position: point.finish() for position, point in zip(members, points, strict=True)}
    return [fits[position] for position in range(len(configs))]


class _Silent:
    """A callback of a single point, whose records are read when it has ended."""

    def on_step(self, step: int, total_steps: int) -> None:
        """Not shown."""

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Kept by the progress."""

    def check(self) -> None:
        """Nothing is written before the end."""

    def on_cache_progress(self, examples: int, total: int) -> None:
        """Told to the callback of all."""

    def should_stop(self) -> bool:
        """Never."""
        return False


_SILENT = _Silent()


@dataclass
class _Point:
    """One configuration and how far its training has come."""

    plan: FitPlan
    progress: Progress
    losses: list[float] = field(default_factory=list)
    """Since they were last read."""
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """Weights of the best checkpoint."""
    error: TrainingError | None = None

    @property
    def config(self) -> FitConfig:
        return self.plan.config

    @property
    def ended(self) -> bool:
        return self.error is not None or self.progress.stopped or self.progress.step == self.plan.total_steps

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.config.learning_rate * self._schedule(self.progress.step)

    @cached_property
    def _schedule(self) -> Callable[[int], float]:
        return build_schedule(self.plan.total_steps, self.config.warmup_ratio, self.config.lr_scheduler_type)

    def logs(self) -> bool:
        """Whether the mean loss is logged after the last step."""
        return self.progress.step % self.config.logging_steps == 0

    def evaluates(self) -> bool:
        """Whether validation data are scored after the last step."""
        return self.plan.evaluation_is_due(self.progress.step)

    def finish(self) -> HeadFit:
        if self.error is not None:
            return HeadFit(None, self.progress.history, {}, self.error)
        weights = {**trained_state(self.plan.model, self.plan.parameters), **self.best}
        return HeadFit(self.progress.result(self.plan.total_steps), self.progress.history, weights)


class _Group:
    """Points of one batch size."""

    def __init__(
        self, points: list[_Point], inputs: PhaseInputs, accelerator: Any, callback: Callback, largest_batch: int
    ) -> None:
        from pipeline.training.vmapped_modules import Stack, StackedAdamW  # with torch, which whoever plans does without

        self._active, self._inputs, self._accelerator = points, inputs, accelerator
        self._callback, self._largest_batch = callback, largest_batch
        plan = points[0].plan
        configs = [point.config for point in points]
        self._plan, self._seeds = plan, Seeds.of(plan.config)
        self._loss = plan.build_loss().to(accelerator.device)
        self._total = max(point.plan.total_steps for point in points)
        self._flops = FlopCounter.of(plan.encoder, plan.parameters, 0, inputs.uses_cache, plan.trims_last_layer)
        self._stack = Stack(plan.model, plan.parameters, [config.dropout for config in configs])
        self._optimizer = StackedAdamW(self._stack, plan.parameters, configs)
        self._unread: list[torch.Tensor] = []  # read at logging points only: reading waits for the device

    def train(self) -> None:
        """Train all points to their ends."""
        import torch

        torch.manual_seed(self._seeds.dropout)
        epoch = 0
        while self._active:
            for indices in self._plan.batches(self._seeds.order, epoch):
                if self._active:
                    self._step(indices)
            epoch += 1

    def _step(self, indices: Any) -> None:
        import torch
        from torch.func import vmap

        watch = Stopwatch()
        rates = [point.rate for point in self._active]
        self._stack.train()
        with watch.running():
            losses, flops, tokens = [], 0.0, 0
            for piece in Share(indices, 1.0).cut(self._plan.config.gradient_accumulation_steps):
                with self._accelerator.autocast():  # of states that are not kept
                    batch = load_batch(self._inputs.train, piece.indices, self._accelerator.device)
                with self._inputs.train.as_model_input(), self._accelerator.autocast():
                    logits = self._stack(**batch.inputs).logits
                    loss = vmap(self._loss, in_dims=(1, None))(logits.float(), batch.labels) * piece.weight
                loss.sum().backward()  # of each point's weights only its own loss is a function
                losses.append(loss.detach())
                flops += self._flops.step(*batch.shape)
                tokens += batch.tokens
            self._optimizer.step(rates)
            self._unread.append(torch.stack(losses).sum(0))
        for point in self._active:
            point.progress.step += 1
            point.progress.examples += self._plan.train.count_texts(indices)
            point.progress.tokens += tokens
            point.progress.flops += flops
        self._callback.on_step(self._active[0].progress.step, self._total)
        if any(point.logs() or point.evaluates() for point in self._active):
            with watch.running():
                self._read()
        for point in self._active:
            point.progress.train_seconds += watch.seconds / len(self._active)
        for point, rate in zip(self._active, rates, strict=True):
            if point.logs() and not point.error:
                window = point.progress.window
                report(point.progress, _SILENT, {"train/loss": sum(window) / len(window), "train/learning_rate": rate})
                point.progress.window = []
        if any(point.evaluates() for point in self._active):
            self._evaluate()
        self._drop_ended()

    def _read(self) -> None:
        """Hand every point its losses since the last reading."""
        import torch

        columns = torch.stack(self._unread, 1).tolist()
        self._unread.clear()
        for point, column in zip(self._active, columns, strict=True):
            point.losses += column
            if point.logs() or point.evaluates():
                try:
                    read_losses(point.progress, point.losses)
                except TrainingError as error:
                    point.error = error

    def _evaluate(self) -> None:
        """Score validation data with every point's weights, and note it where it is due."""
        with self._accelerator.autocast():
            logits = predict_logits(self._stack, self._inputs.validation, self._accelerator.device, self._largest_batch)
        for position, point in enumerate(self._active):
            if point.evaluates() and not point.error:
                scores = self._plan.task.score(self._plan.validation.labels, logits[:, position])
                try:
                    note_evaluation(point.config, point.progress, _SILENT, scores)
                except TrainingError as error:
                    point.error = error
                    continue
                point.progress.stopped = patience_is_over(point.config, point.progress)
                if point.progress.best_step == point.progress.step:
                    point.best = {name: w[position].detach().cpu().clone() for name, w in self._stack.weights.items()}

    def _drop_ended(self) -> None:
        positions = [position for position, point in enumerate(self._active) if not point.ended]
        if len(positions) < len(self._active):
            if self._unread:
                self._read()
            self._active = [self._active[position] for position in positions]
            self._stack.keep(positions)
            self._optimizer.keep(positions)
