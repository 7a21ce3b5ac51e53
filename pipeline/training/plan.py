"""What one training needs (`FitPlan`), how far it is (`Progress`), who is told (`Callback`), what it came to (`FitResult`)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, MutableSequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline.config import FitConfig
from pipeline.data.batching import plan_epoch
from pipeline.data.pair_tokenization import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.errors import PipelineError, TrainingError
from pipeline.evaluation.metric import LOSS, lower_is_better, without_choices
from pipeline.evaluation.task import Task
from pipeline.failures import is_out_of_memory, too_large
from pipeline.modeling.encoder import EncoderSpec
from pipeline.strategies.base import Strategy
from pipeline.strategies.parameter_plan import ParameterPlan
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.precision import Precision, peak_flops_per_second

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from pipeline.objectives.loss import Loss


CacheUse = Literal["unused", "built", "found"]


class Callback(Protocol):
    """Is told how training goes, and may end it."""

    def on_step(self, step: int, total_steps: int) -> None:
        """After every step."""

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """At logging points and evaluations."""

    def check(self) -> None:
        """Between two steps; what it raises ends the training after a checkpoint."""

    def on_cache_progress(self, examples: int, total: int) -> None:
        """While the frozen layers' hidden states are computed for the cache."""

    def should_stop(self) -> bool:
        """Whether to end now, as if this were the last step."""


@dataclass
class Progress:
    """How far training has come; all of it stands in a checkpoint."""

    step: int = 0
    loss_sum: float = 0.0
    window: list[float] = field(default_factory=list)
    """Losses since the last logging point."""
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """Everything that was reported to the callback."""
    best_step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    """Validation metrics of the best checkpoint."""
    evaluations_without_gain: int = 0
    stopped: bool = False
    pieces: int = 1
    """In how many a process computes its share of a batch, one after another."""
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

    def metrics(self, parameters: ParameterPlan, config: FitConfig, precision: Precision) -> dict[str, float]:
        """What trained, how it went and what it cost, under the names of a run's metrics."""
        seconds, peak = self.train_seconds, peak_flops_per_second(precision) * config.num_processes
        return {
            "model/trainable_params": parameters.trainable_count,
            "model/total_params": parameters.total_count,
            "model/trainable_percent": parameters.trainable_percent,
            **self.common_metrics(),
            "train/steps_per_epoch": self.total_steps / config.epochs,
            "cost/cache_seconds": self.cache_seconds,
            "cost/tokens_per_second": self.tokens / seconds,
            "cost/total_flops": self.flops,
            "cost/model_flops_utilisation": self.flops / seconds / peak,
        }

    def common_metrics(self) -> dict[str, float]:
        """Of these metrics those that a training without an encoder has, too."""
        return {
            "train/loss_mean": self.train_loss_mean,
            "cost/train_seconds": self.train_seconds,
            "cost/examples": self.examples,
            "cost/examples_per_second": self.examples / self.train_seconds,
        }


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


def report(progress: Progress, callback: Callback, metrics: dict[str, float]) -> None:
    """Tell the callback, and note it."""
    progress.history.append((progress.step, metrics))
    callback.on_log(progress.step, metrics)


def note_evaluation(config: FitConfig, progress: Progress, callback: Callback, metrics: dict[str, float]) -> None:
    """Report validation metrics, and keep in mind whether they are the best so far.

    Raises:
        TrainingError: The loss is NaN or infinite: the last steps have ruined the weights.
    """
    if not math.isfinite(loss := metrics[LOSS]):
        raise TrainingError(
            f"The validation loss became {loss} by step {progress.step}. Lower --learning-rate, or raise --warmup-ratio."
        )
    report(progress, callback, {f"val/{name}": value for name, value in without_choices(metrics).items()})
    if _is_better(metrics, progress.best, config):
        progress.best, progress.best_step, progress.evaluations_without_gain = metrics, progress.step, 0
    else:
        progress.evaluations_without_gain += 1


def _is_better(metrics: Mapping[str, float], best: Mapping[str, float], config: FitConfig) -> bool:
    if not best:
        return True
    metric = config.metric_for_best_model
    if metrics[metric] == best[metric] and config.label_type == "multi":  # as long as no rare label reaches 0.5 nothing changes
        return metrics[LOSS] < best[LOSS]
    return metrics[metric] < best[metric] if lower_is_better(metric) else metrics[metric] > best[metric]


def patience_is_over(config: FitConfig, progress: Progress) -> bool:
    """Whether so many evaluations in a row brought no gain that training ends."""
    patience = config.early_stopping_patience
    return patience is not None and progress.evaluations_without_gain >= patience


@dataclass(frozen=True)
class FitPlan:
    """All that training needs."""

    model: nn.Module
    encoder: EncoderSpec
    parameters: ParameterPlan
    train: TokenTable | TextPairs
    validation: TokenTable | TextPairs
    task: Task
    """What the model's outputs mean."""
    pad_id: int
    config: FitConfig
    precision: Precision
    checkpoints: CheckpointFolder
    strategy: Strategy
    """Asked for its `after_step`, and for the state that it keeps beside the weights; what trains is in `parameters`."""
    activation_cache: ActivationCache | None = None
    """Where hidden states of frozen layers are kept; without it they are computed for every batch."""
    base_identity: object = None
    """Identifies the base's weights as they were loaded."""
    accelerations: frozenset[str] = frozenset()
    """Names of those in whose block this is; see `acceleration.base.accelerated`."""
    labelled: TokenTable | None = None
    """The training texts where `train` are pairs that were made of them; see `contrastive.pair_up`."""
    pairs_per_epoch: int | None = None
    """How many of these pairs an epoch takes, some of them again where there are fewer."""

    def build_loss(self) -> Loss:
        """What is trained by, on the CPU, with classes weighted by the training examples; of pairs the cosine similarity."""
        from pipeline.objectives.loss import CosineSimilarityLoss, create_loss

        if self.labelled is not None:
            return CosineSimilarityLoss()
        return create_loss(self.task, self.config, self.train.piece_labels)

    @property
    def tables(self) -> list[TokenTable | TextPairs]:
        """All that the model is given."""
        return [self.train, self.validation, *([] if self.labelled is None else [self.labelled])]

    @property
    def trims_last_layer(self) -> bool:
        """Whether the top layer computes the first token's state alone."""
        return "first_token" in self.accelerations

    def micro_batch(self, pieces: int) -> int:
        """How many examples a process computes at a time if its share of a batch is cut into so many pieces."""
        return math.ceil(self.config.batch_size / (self.config.num_processes * pieces))

    def largest_batch(self, pieces: int) -> int:
        """Tokens of such a piece after padding. Nothing else is computed in larger batches, so peak memory is training's."""
        return self.micro_batch(pieces) * int(self.train.lengths.max())

    @property
    def examples_per_epoch(self) -> int:
        """Texts, pieces of them, or pairs, in an epoch; those that are passed over again count again."""
        if self.pairs_per_epoch is not None:
            return self.pairs_per_epoch
        return math.ceil(len(self.train.lengths) * max(len(self.train), self.config.epoch_size or 0) / len(self.train))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return math.ceil(self.examples_per_epoch / self.config.batch_size)

    def batches(self, order_seed: int, epoch: int) -> list[NDArray[np.int64]]:
        """Indices of each batch of an epoch."""
        return plan_epoch(self.train.lengths, self.config.batch_size, order_seed, epoch, examples=self.examples_per_epoch)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.steps_per_epoch * self.config.epochs

    def begin(self, restored: Mapping[str, Any] | None = None) -> Progress:
        """How far training is before its first step, or where a checkpoint has left it."""
        return Progress(**{"pieces": self.config.gradient_accumulation_steps, **(restored or {})})

    def awaits_evaluation(self, progress: Progress) -> bool:
        """Whether training stands at a step after which validation data are scored, and they were not yet."""
        scored = any(step == progress.step and f"val/{LOSS}" in metrics for step, metrics in reversed(progress.history[-2:]))
        return progress.step > 0 and self.evaluation_is_due(progress.step) and not scored

    def evaluation_is_due(self, step: int) -> bool:
        """Whether validation data are scored after this step."""
        every = self.config.eval_steps or self.steps_per_epoch
        return step % every == 0 or step == self.total_steps


@contextlib.contextmanager
def naming_what_does_not_fit(plan: FitPlan, trainings: int = 1) -> Iterator[None]:
    """Say of a training for which the memory does not suffice how much it computes at a time, and what to lower.

    Args:
        trainings: How many such are computed at once, which `--auto-batch` does not cut.

    Raises:
        SystemFailureError: It does not.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PipelineError) or not is_out_of_memory(error):
            raise
        config, longest = plan.config, int(plan.train.lengths.max())
        pieces, micro_batch = config.gradient_accumulation_steps, plan.micro_batch(config.gradient_accumulation_steps)
        what = f"--strategy {plan.strategy.name} with batches of {config.batch_size} examples of up to {longest} tokens"
        if micro_batch < config.batch_size:
            what += f", {micro_batch} at a time"
        if trainings > 1:
            what += f", in {trainings} trainings at once"
        is_alone = config.num_processes == trainings == 1
        can_be_cut = micro_batch > 1 and not (config.auto_batch and is_alone)
        ways = [
            "--auto-batch true" if can_be_cut and is_alone else "",
            f"--gradient-accumulation-steps {2 * pieces}" if can_be_cut else "",
            "" if config.gradient_checkpointing else "--gradient-checkpointing true",
            f"a --max-length below {longest}",
            "a strategy that trains less",
        ]
        hint = " What fits is said by train --dry-run true --device-memory-gb 8, or however many GiB there are."
        raise too_large(what, [way for way in ways if way], error, hint) from error
