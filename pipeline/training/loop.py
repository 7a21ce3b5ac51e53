"""The training loop. It knows nothing of trackers, files of data, or terminals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline.config import FitConfig
from pipeline.data.batching import Examples, TokenExamples, plan_epoch
from pipeline.data.text_pairs import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.errors import TrainingError
from pipeline.evaluation.readings import Reading
from pipeline.modeling.cut import Cut
from pipeline.modeling.encoder import Encoder
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import ParameterPlan
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.dropout import quick_dropout
from pipeline.training.frozen_prefix import CachedPrefix, feed_above
from pipeline.training.inference import predict_logits
from pipeline.training.meters import FlopCounter, Stopwatch
from pipeline.training.optimizer import build_optimizer, set_learning_rate
from pipeline.training.precision import Precision, dtype_of_states
from pipeline.training.prefix_cache import PrefixCache
from pipeline.training.schedule import linear_warmup_decay, warmup_steps
from pipeline.training.seeding import Seeds

if TYPE_CHECKING:
    import torch
    from torch import nn


class Observer(Protocol):
    """Is told how training goes, and may end it."""

    def on_step(self, step: int, total_steps: int) -> None:
        """After every step."""

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """At logging points and evaluations."""

    def on_prefix(self, examples: int, total: int) -> None:
        """While the frozen layers' hidden states are computed for the cache."""

    def should_stop(self) -> bool:
        """Whether to end now, as if this were the last step."""


@dataclass(frozen=True)
class FitPlan:
    """All that training needs."""

    model: nn.Module
    encoder: Encoder
    parameters: ParameterPlan
    train: TokenTable | TextPairs
    validation: TokenTable | TextPairs
    reading: Reading
    """What the model's outputs mean."""
    pad_id: int
    config: FitConfig
    precision: Precision
    checkpoints: CheckpointFolder
    strategy: Strategy
    """Asked for its `after_step`, and for the state that it keeps beside the weights; what trains is in `parameters`."""
    prefix_cache: PrefixCache | None = None
    """Where hidden states of frozen layers are kept; without it they are computed for every batch."""
    base_identity: object = None
    """Identifies the base's weights as they were loaded."""

    @property
    def largest_batch(self) -> int:
        """Tokens after padding; nothing else is computed in larger batches, so that peak memory is training's."""
        return self.config.batch_size * int(self.train.lengths.max())

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""
        return math.ceil(len(self.train) / self.config.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.steps_per_epoch * self.config.epochs


@dataclass
class Progress:
    """How far training has come; all of it stands in a checkpoint."""

    step: int = 0
    loss_sum: float = 0.0
    window: list[float] = field(default_factory=list)
    """Losses since the last logging point."""
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """Everything that was reported to the observer."""
    best_step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    """Validation metrics of the best checkpoint."""
    evaluations_without_gain: int = 0
    stopped: bool = False
    train_seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    flops: float = 0.0
    cached: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """Layer below which hidden states came from the cache -> seconds that computing them cost, and whether they were found."""

    @property
    def cache_use(self) -> CacheUse:
        """Whether hidden states came from the cache, and whether all of them were there already."""
        if not self.cached:
            return "unused"
        return "found" if all(found for _, found in self.cached.values()) else "built"


CacheUse = Literal["unused", "built", "found"]


@dataclass(frozen=True)
class FitResult:
    """What training came to. The model holds the weights of the best checkpoint."""

    best: Mapping[str, float]
    """Validation metrics of the best checkpoint: those of the plan's reading, and loss."""
    best_step: int
    steps: int
    total_steps: int
    train_loss_mean: float
    """Mean over all steps, as the Trainer of transformers reports it."""
    train_seconds: float
    """Training steps alone, without evaluation."""
    examples: int
    tokens: int
    flops: float
    cache_seconds: float
    """What computing the cached hidden states cost, in this run or in the one that found none."""
    cache: CacheUse
    resumed_from: int
    """Step of the checkpoint from which this process went on; 0 if it began anew."""


def fit(plan: FitPlan, observer: Observer) -> FitResult:
    """Train `plan.model` and leave the best checkpoint's weights in it.

    Goes on from the newest checkpoint in `plan.checkpoints` if there is one; on a CPU the end is then bit-equal to that of an
    uninterrupted run.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    accelerator = _accelerator(plan.precision)
    with quick_dropout(plan.model) if accelerator.device.type == "cpu" else nullcontext():
        return _fit(plan, observer, accelerator)


def _fit(plan: FitPlan, observer: Observer, accelerator: Any) -> FitResult:
    from torch import manual_seed

    seeds = Seeds.of(plan.config)
    optimizer = build_optimizer(plan.model, plan.parameters, plan.config.weight_decay)
    model, optimizer = accelerator.prepare(plan.model, optimizer)
    manual_seed(seeds.dropout)
    restored = plan.checkpoints.restore(plan.model, plan.parameters, optimizer, accelerator.scaler, plan.strategy)
    progress = Progress(**restored) if restored else Progress()
    resumed_from = progress.step
    warmup = warmup_steps(plan.total_steps, plan.config.warmup_ratio)
    watch = Stopwatch(progress.train_seconds)
    feeds = _Feeds(plan, observer, accelerator.device)
    losses: list[torch.Tensor] = []  # read at logging points only: reading waits for the device

    while progress.step < plan.total_steps and not progress.stopped:
        epoch, position = divmod(progress.step, plan.steps_per_epoch)
        phase = plan.parameters.phase_of(epoch)
        plan.parameters.enter_phase(plan.model, phase)
        feed = feeds.of(phase, progress)
        flops = FlopCounter.of(plan.encoder, plan.parameters, phase, feed.skips_prefix)
        batches = plan_epoch(plan.train.lengths, plan.config.batch_size, seeds.order, epoch)
        model.train()
        for indices in batches[position:]:
            with watch.running():
                batch = feed.train.batch(indices)
                inputs = {name: tensor.to(accelerator.device) for name, tensor in batch.inputs.items()}
                rate = plan.config.learning_rate * linear_warmup_decay(progress.step, plan.total_steps, warmup)
                set_learning_rate(optimizer, rate, phase)
                with feed.train.feeding():
                    loss = model(**inputs, labels=batch.labels.to(accelerator.device)).loss
                accelerator.backward(loss)
                norm = accelerator.clip_grad_norm_(model.parameters(), plan.config.max_grad_norm)
                optimizer.step()
                # Under fp16 a step whose gradients overflow is skipped; only there is waiting for the norm worth it.
                if accelerator.scaler is None or bool(norm.isfinite()):
                    plan.strategy.after_step(plan.model, progress.step + 1)
                optimizer.zero_grad()
                losses.append(loss.detach())
            progress.step += 1
            progress.examples += len(indices)
            progress.tokens += batch.tokens
            progress.flops += flops.step(*batch.shape)
            observer.on_step(progress.step, plan.total_steps)
            stop = observer.should_stop()
            evaluates = _evaluation_is_due(plan, progress.step) or stop
            if progress.step % plan.config.logging_steps == 0 or evaluates:
                with watch.running():
                    _read_losses(progress, losses)
            if progress.step % plan.config.logging_steps == 0:
                mean = sum(progress.window) / len(progress.window)
                _report(progress, observer, {"train/loss": mean, "train/learning_rate": rate})
                progress.window = []
            if evaluates:
                _evaluate(plan, progress, observer, model, feed.validation, accelerator.device)
                progress.stopped = stop or _patience_is_over(plan.config, progress)
                progress.train_seconds = watch.seconds
                plan.checkpoints.save(
                    progress.step,
                    progress.best_step,
                    plan.model,
                    plan.parameters,
                    optimizer,
                    accelerator.scaler,
                    asdict(progress),
                    plan.strategy,
                )
                if progress.stopped:
                    break
    if progress.best_step != progress.step:
        plan.checkpoints.load_weights(progress.best_step, plan.model, plan.parameters)
    accelerator.free_memory()
    return FitResult(
        best=progress.best,
        best_step=progress.best_step,
        steps=progress.step,
        total_steps=plan.total_steps,
        train_loss_mean=progress.loss_sum / progress.step,
        train_seconds=progress.train_seconds,
        examples=progress.examples,
        tokens=progress.tokens,
        flops=progress.flops,
        cache_seconds=sum(seconds for seconds, _ in progress.cached.values()),
        cache=progress.cache_use,
        resumed_from=resumed_from,
    )


@dataclass(frozen=True)
class _Feed:
    """What the model is fed with in one phase."""

    train: Examples
    validation: Examples
    skips_prefix: bool
    """Whether the frozen layers' hidden states come from the cache."""


class _Feeds:
    """The feed of each phase, made when the phase begins."""

    def __init__(self, plan: FitPlan, observer: Observer, device: Any) -> None:
        self._plan, self._observer, self._device = plan, observer, device
        self._by_layer: dict[int, _Feed] = {}

    def of(self, phase: int, progress: Progress) -> _Feed:
        """Token ids where the model trains from the bottom up, else the hidden states that enter its lowest trained layer.

        What came from the cache is noted in `progress` when it does so first: a resumed training finds what it had built.
        """
        layer = self._plan.parameters.lowest_layer(self._plan.encoder, phase)
        if layer not in self._by_layer:
            made: list[Examples] = []

            def make(table: TokenTable) -> Examples:
                made.append(self._make(table, layer))
                return made[-1]

            train, validation = self._plan.train.feed(make), self._plan.validation.feed(make)
            self._by_layer[layer] = _Feed(train, validation, isinstance(made[0], CachedPrefix))
            states = [examples.states for examples in made if isinstance(examples, CachedPrefix)]
            if states:
                seconds = sum(each.build_seconds for each in states)
                progress.cached.setdefault(str(layer), (seconds, all(each.found for each in states)))
        return self._by_layer[layer]

    def _make(self, table: TokenTable, layer: int) -> Examples:
        plan, tokens = self._plan, TokenExamples(table, self._plan.pad_id)
        if layer == 0:
            return tokens
        return feed_above(
            Cut(plan.model, plan.encoder, layer),
            tokens,
            self._device,
            dtype_of_states(plan.precision),
            plan.prefix_cache,
            [plan.base_identity, plan.precision],
            self._observer.on_prefix,
            plan.largest_batch,
        )


def _accelerator(precision: Precision) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from torch.cuda import is_available

    AcceleratorState._reset_state(reset_partial_state=True)  # it is global; an earlier fit may have had another precision
    mixed = "no" if precision == "fp32" else precision
    return Accelerator(mixed_precision=mixed, cpu=not is_available())  # never an Apple GPU, whose figures are not known here


def _evaluation_is_due(plan: FitPlan, step: int) -> bool:
    every = plan.config.eval_steps or plan.steps_per_epoch
    return step % every == 0 or step == plan.total_steps


def _read_losses(progress: Progress, losses: list[torch.Tensor]) -> None:
    for loss in losses:
        value = float(loss)
        if not math.isfinite(value):
            raise TrainingError(
                f"The training loss became {value} by step {progress.step}. Lower --learning-rate, or raise --warmup-ratio."
            )
        progress.loss_sum += value
        progress.window.append(value)
    losses.clear()


def _report(progress: Progress, observer: Observer, metrics: dict[str, float]) -> None:
    progress.history.append((progress.step, metrics))
    observer.on_log(progress.step, metrics)


def _evaluate(
    plan: FitPlan, progress: Progress, observer: Observer, model: nn.Module, validation: Examples, device: Any
) -> None:
    logits = predict_logits(model, validation, device, plan.largest_batch)
    found = plan.reading.score(plan.validation.labels, logits)
    _report(progress, observer, {f"val/{name}": value for name, value in found.items()})
    if _is_better(found, progress.best, plan.config.metric_for_best_model):
        progress.best, progress.best_step, progress.evaluations_without_gain = found, progress.step, 0
    else:
        progress.evaluations_without_gain += 1


def _is_better(found: Mapping[str, float], best: Mapping[str, float], metric: str) -> bool:
    if not best:
        return True
    return found[metric] < best[metric] if metric == "loss" else found[metric] > best[metric]


def _patience_is_over(config: FitConfig, progress: Progress) -> bool:
    patience = config.early_stopping_patience
    return patience is not None and progress.evaluations_without_gain >= patience
