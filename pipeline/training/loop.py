"""The training loop. It knows nothing of trackers, files of data, or terminals."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableSequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
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
from pipeline.training.checkpoints import CheckpointFolder, generator_states
from pipeline.training.distributed import World, find_world
from pipeline.training.dropout import quick_dropout
from pipeline.training.frozen_prefix import CachedPrefix, feed_above
from pipeline.training.fused_lora import fused_lora
from pipeline.training.inference import predict_logits
from pipeline.training.meters import FlopCounter, Stopwatch
from pipeline.training.optimizer import build_optimizer, set_learning_rate
from pipeline.training.precision import Precision, dtype_of_states
from pipeline.training.prefix_cache import PrefixCache
from pipeline.training.schedule import linear_warmup_decay, warmup_steps
from pipeline.training.seeding import Seeds
from pipeline.training.solving import solve_head
from pipeline.training.vocabulary import used_vocabulary

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
        return math.ceil(self.config.batch_size / self.config.num_processes) * int(self.train.lengths.max())

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

    def result(self, total_steps: int, resumed_from: int = 0) -> FitResult:
        """What training came to, once it has ended."""
        return FitResult(
            best=self.best,
            best_step=self.best_step,
            steps=self.step,
            total_steps=total_steps,
            train_loss_mean=self.loss_sum / self.step,
            train_seconds=self.train_seconds,
            examples=self.examples,
            tokens=self.tokens,
            flops=self.flops,
            cache_seconds=sum(seconds for seconds, _ in self.cached.values()),
            cache=self.cache_use,
            resumed_from=resumed_from,
        )


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
    figures: Mapping[str, float] = field(default_factory=dict)
    """Metrics that the run carries beside, or instead of, those that its stage measures."""


def fit(plan: FitPlan, observer: Observer) -> FitResult:
    """Train `plan.model` and leave the best checkpoint's weights in it.

    Goes on from the newest checkpoint in `plan.checkpoints` if there is one; on a CPU the end is then bit-equal to that of an
    uninterrupted run. With `num_processes` every process calls this, and all leave with the same weights; only process 0 asks
    its observer whether to stop, and that at logging points and evaluations alone.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    world = find_world(plan.config.num_processes)
    accelerator = make_accelerator(plan.precision, **world.accelerator_options())
    with (
        quick_dropout(plan.model) if accelerator.device.type == "cpu" else nullcontext(),
        fused_lora(plan.model),
        used_vocabulary(plan.model, plan.parameters, [plan.train, plan.validation], plan.pad_id) as parameters,
    ):
        train = _solve if plan.strategy.is_solved else _fit
        return train(replace(plan, parameters=parameters), observer, accelerator, world)


def _fit(plan: FitPlan, observer: Observer, accelerator: Any, world: World) -> FitResult:
    from torch import manual_seed

    seeds = Seeds.of(plan.config)
    optimizer = build_optimizer(plan.model, plan.parameters, plan.config.weight_decay)
    model = accelerator.prepare_model(plan.model, evaluation_mode=True)  # not wrapped: the world does that, anew in every phase
    optimizer = accelerator.prepare(optimizer)
    manual_seed(world.seed(seeds.dropout))
    restored = plan.checkpoints.restore(plan.model, plan.parameters, optimizer, accelerator.scaler, plan.strategy, world.rank)
    progress = Progress(**restored) if restored else Progress()
    resumed_from = progress.step
    warmup = warmup_steps(plan.total_steps, plan.config.warmup_ratio)
    watch = Stopwatch(progress.train_seconds)
    feeds = Feeds(plan, observer, accelerator.device, world)
    losses: list[torch.Tensor] = []  # read at logging points only: reading waits for the device

    while progress.step < plan.total_steps and not progress.stopped:
        epoch, position = divmod(progress.step, plan.steps_per_epoch)
        phase = plan.parameters.phase_of(epoch)
        plan.parameters.enter_phase(plan.model, phase)
        feed = feeds.of(phase, progress)
        flops = FlopCounter.of(plan.encoder, plan.parameters, phase, feed.skips_prefix)
        batches = plan_epoch(plan.train.lengths, plan.config.batch_size, seeds.order, epoch)
        wrapped = world.wrap(model, phase)
        wrapped.train()
        for indices in batches[position:]:
            with watch.running():
                share = world.share(indices)
                batch = feed.train.batch(share.indices)
                inputs = {name: tensor.to(accelerator.device) for name, tensor in batch.inputs.items()}
                rate = plan.config.learning_rate * linear_warmup_decay(progress.step, plan.total_steps, warmup)
                set_learning_rate(optimizer, rate, phase)
                with feed.train.feeding():
                    loss = world.weigh(wrapped(**inputs, labels=batch.labels.to(accelerator.device)).loss, share)
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
            progress.tokens += int(feed.train.lengths[indices].sum())
            progress.flops += sum(flops.step(len(part), int(feed.train.lengths[part].max())) for part in world.parts(indices))
            observer.on_step(progress.step, plan.total_steps)
            logs, evaluates = progress.step % plan.config.logging_steps == 0, evaluation_is_due(plan, progress.step)
            stop = world.agree(observer.should_stop, now=logs or evaluates)
            evaluates = evaluates or stop
            if logs or evaluates:
                with watch.running():
                    read_losses(progress, world.average(losses))
            if logs:
                mean = sum(progress.window) / len(progress.window)
                report(progress, observer, {"train/loss": mean, "train/learning_rate": rate})
                progress.window = []
            if evaluates:
                _evaluate(plan, progress, observer, model, feed.validation, accelerator.device, world)
                progress.stopped = stop or patience_is_over(plan.config, progress)
                progress.train_seconds = watch.seconds
                state = asdict(progress), plan.strategy, world.gather(generator_states())
                save = partial(plan.checkpoints.save, progress.step, progress.best_step, plan.model, plan.parameters)
                world.ask_first(partial(save, optimizer, accelerator.scaler, *state))
                if progress.stopped:
                    break
    if progress.best_step != progress.step:
        plan.checkpoints.load_weights(progress.best_step, plan.model, plan.parameters)
    accelerator.free_memory()
    world.leave()
    return progress.result(plan.total_steps, resumed_from)


def _solve(plan: FitPlan, observer: Observer, accelerator: Any, world: World) -> FitResult:
    """All of training as one step, the strategy's `solve`. It is quick, so an interrupted one is begun anew."""
    model = accelerator.prepare_model(plan.model, evaluation_mode=True)
    progress, watch = Progress(), Stopwatch()
    plan.parameters.enter_phase(plan.model, 0)
    feed = Feeds(plan, observer, accelerator.device, world).of(0, progress)
    with watch.running():
        solution = solve_head(plan.strategy, model, plan.parameters, feed.train, accelerator.device)
    progress.step, progress.loss_sum, progress.train_seconds = 1, solution.loss, watch.seconds
    progress.examples, progress.tokens = len(plan.train), int(plan.train.lengths.sum())
    for skips_prefix, passes in ((feed.skips_prefix, 1), (True, solution.iterations - 1)):
        counter = FlopCounter.of(plan.encoder, plan.parameters, 0, skips_prefix)
        progress.flops += passes * counter.step(len(plan.train), round(float(plan.train.lengths.mean())))
    observer.on_step(1, 1)
    report(progress, observer, {"train/loss": solution.loss})
    _evaluate(plan, progress, observer, model, feed.validation, accelerator.device, world)
    accelerator.free_memory()
    world.leave()
    return progress.result(total_steps=1)


@dataclass(frozen=True)
class Feed:
    """What the model is fed with in one phase."""

    train: Examples
    validation: Examples
    skips_prefix: bool
    """Whether the frozen layers' hidden states come from the cache."""


class Feeds:
    """The feed of each phase, made when the phase begins."""

    def __init__(self, plan: FitPlan, observer: Observer, device: Any, world: World) -> None:
        """Make none yet."""
        self._plan, self._observer, self._device, self._world = plan, observer, device, world
        self._by_layer: dict[int, Feed] = {}

    def of(self, phase: int, progress: Progress) -> Feed:
        """Token ids where the model trains from the bottom up, else the hidden states that enter its lowest trained layer.

        What came from the cache is noted in `progress` when it does so first: a resumed training finds what it had built.
        """
        layer = self._plan.parameters.lowest_layer(self._plan.encoder, phase)
        if layer not in self._by_layer:
            made: list[Examples] = []

            def make(table: TokenTable) -> Examples:
                made.append(self._make(table, layer))
                return made[-1]

            with self._world.first_alone():  # process 0 computes what is to be cached, and the others find it
                train, validation = self._plan.train.feed(make), self._plan.validation.feed(make)
            self._by_layer[layer] = Feed(train, validation, isinstance(made[0], CachedPrefix))
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


def make_accelerator(precision: Precision, **options: Any) -> Any:
    """Accelerate's handle on device and precision."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from torch.cuda import is_available

    AcceleratorState._reset_state(reset_partial_state=True)  # it is global; an earlier fit may have had another precision
    mixed = "no" if precision == "fp32" else precision
    # Never an Apple GPU, whose figures are not known here.
    return Accelerator(mixed_precision=mixed, cpu=not is_available(), **options)


def evaluation_is_due(plan: FitPlan, step: int) -> bool:
    """Whether validation data are scored after this step."""
    every = plan.config.eval_steps or plan.steps_per_epoch
    return step % every == 0 or step == plan.total_steps


def read_losses(progress: Progress, losses: MutableSequence[Any]) -> None:
    """Add losses that were not read yet to the progress, and forget them.

    Raises:
        TrainingError: One of them is NaN or infinite.
    """
    for loss in losses:
        value = float(loss)
        if not math.isfinite(value):
            raise TrainingError(
                f"The training loss became {value} by step {progress.step}. Lower --learning-rate, or raise --warmup-ratio."
            )
        progress.loss_sum += value
        progress.window.append(value)
    losses.clear()


def report(progress: Progress, observer: Observer, metrics: dict[str, float]) -> None:
    """Tell the observer, and note it."""
    progress.history.append((progress.step, metrics))
    observer.on_log(progress.step, metrics)


def _evaluate(
    plan: FitPlan, progress: Progress, observer: Observer, model: nn.Module, validation: Examples, device: Any, world: World
) -> None:
    logits = predict_logits(model, validation, device, plan.largest_batch, world)
    found = world.ask_first(lambda: plan.reading.score(plan.validation.labels, logits))
    note_evaluation(plan.config, progress, observer, found)


def note_evaluation(config: FitConfig, progress: Progress, observer: Observer, found: dict[str, float]) -> None:
    """Report validation metrics, and keep in mind whether they are the best so far."""
    report(progress, observer, {f"val/{name}": value for name, value in found.items()})
    if _is_better(found, progress.best, config.metric_for_best_model):
        progress.best, progress.best_step, progress.evaluations_without_gain = found, progress.step, 0
    else:
        progress.evaluations_without_gain += 1


def _is_better(found: Mapping[str, float], best: Mapping[str, float], metric: str) -> bool:
    if not best:
        return True
    return found[metric] < best[metric] if metric == "loss" else found[metric] > best[metric]


def patience_is_over(config: FitConfig, progress: Progress) -> bool:
    """Whether so many evaluations in a row brought no gain that training ends."""
    patience = config.early_stopping_patience
    return patience is not None and progress.evaluations_without_gain >= patience
