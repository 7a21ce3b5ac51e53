"""The stage `train`: fine-tune one encoder with one strategy, and say if it did not learn."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import config as configs
from pipeline.config import FitConfig
from pipeline.config.dry_run import refuse_idle_memory
from pipeline.config.fields import as_dict, describe_fields
from pipeline.config.stage import flag
from pipeline.data.long_texts import refuse_idle_overlap
from pipeline.data.token_losses import MOSTLY_UNKNOWN, UNKNOWN, TokenLosses, describe_losses, explain_unknown
from pipeline.errors import TrainingError
from pipeline.evaluation.metrics.accuracy import ACCURACY
from pipeline.evaluation.metrics.label_sets import AUROC, AVERAGE_PRECISION, F1_MACRO
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.statistics.chance import area_of_chance, beats_guessing
from pipeline.evaluation.statistics.intervals import Interval, wilson_interval
from pipeline.failures import is_out_of_memory
from pipeline.objectives.base import refuse_idle_model_labels, refuse_idle_pooling
from pipeline.stages.configure import resolve_strategy
from pipeline.stages.prepare_data import summarise_data
from pipeline.stages.processes import collector
from pipeline.stages.processes.launcher import doubt_processes, run_processes
from pipeline.stages.progress import TrainingObserver, count_classes, describe_scores, next_command, say
from pipeline.stages.resume_training import Attempt, claim_attempt, logged_points, open_run, replay_history
from pipeline.stages.run_record import log_data, log_end, log_start, parameter_table
from pipeline.stages.study.memory_forecast import describe_training
from pipeline.tracking import open_tracker
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.runs import RunLogger, Tracker, closing
from pipeline.tracking.tags import Tag
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.baselines.model import BaselineModel
from pipeline.training.baselines.training import (
    BaselineInputs,
    describe_baseline,
    learned_table,
    refuse_idle_encoder_options,
    train_baseline,
)
from pipeline.training.loop import fit
from pipeline.training.meters import MemoryMeter
from pipeline.training.optimizer import warmup_steps
from pipeline.training.plan import Callback, FitPlan, FitResult
from pipeline.training.precision import Precision
from pipeline.training.saved_model import NAME, BuiltModel, ModelRecord, write_model_folder
from pipeline.training.setup import EncoderInputs, build, describe_model, find_inputs, plan_fit, read_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scores = Mapping[str, float]
"""Validation metrics by their bare names."""

StopRule = Callable[[int, Mapping[str, float]], bool]


@dataclass(frozen=True)
class TrainResult:
    """A finished training."""

    run_id: str
    strategy: str
    validation: Mapping[str, float]
    """Metrics of the selected checkpoint, and its loss."""
    collapse: str = ""
    """That it learned nothing, or forgot it again, and what to try; empty where it learned, and where labels are scores."""


def run(
    config: configs.TrainConfig,
    tracker: Tracker | None = None,
    parent_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    model_folder: Path | None = None,
    stop_rule: StopRule | None = None,
    fit_with: Callable[[FitPlan, Callback], FitResult] = fit,
) -> TrainResult:
    """Train as `config` says; an interrupted training of the same configuration is continued.

    Args:
        parent_id: The run below which this one is nested.
        tags: Set on the run beside, or instead of, the usual ones.
        model_folder: Put the model there instead of onto the run.
        stop_rule: Asked after each evaluation whether to end, with step and validation metrics.
        fit_with: What trains; see `stages/search/vmapped_heads.py`.

    Returns:
        Of a dry run a result without a run.

    Raises:
        InputError: A mistake of input; no run was made.
        TrainingError: Training failed; the run is marked FAILED.
    """
    began = time.perf_counter()
    if isinstance(config, configs.TrainCommandConfig):
        refuse_idle_memory(config)
    if parent_id is None:  # in a study others may take what this objective does not
        refuse_idle_pooling(config.explicit, [config.objective])
        refuse_idle_overlap(config.explicit, [config.long_texts])
        refuse_idle_model_labels(config.explicit, [(config.objective, config.head)])
        refuse_idle_encoder_options(config, [config.strategy])
    inputs = find_inputs(resolve_strategy(_without_command(config)))
    if isinstance(config, configs.TrainCommandConfig) and config.dry_run:
        for line in describe_training(inputs, config.device_memory_gb):
            say(line)
        return TrainResult("", config.strategy, {})
    if parent_id is None:
        for line in (*summarise_data(inputs.prepared), *inputs.notes, *doubt_processes(config.num_processes)):
            say(line)
    with claim_attempt(inputs, (tags or {}).get(Tag.REPRODUCES, "")) as attempt:
        tracker = tracker or open_tracker()
        precision = attempt.choose_precision(inputs.config.precision)
        logger, replay = open_run(inputs, attempt, tracker, parent_id, tags)
        job = _Job(
            inputs, attempt, tracker, precision, replay, began, tags or {}, model_folder, stop_rule, fit_with, parent_id is None
        )
        watching = logger.watch_system() if inputs.config.system_metrics else contextlib.nullcontext()
        with closing(logger, then=attempt.checkpoints.delete), watching:
            attempt.note(logger.run_id, precision, inputs.code_version)
            try:
                count = inputs.config.num_processes
                if isinstance(inputs, BaselineInputs):
                    result = _train_baseline(inputs, job, logger)
                else:
                    result = _train(job, logger) if count == 1 else run_processes(count, _train_together, job, logger.run_id)
            except Exception as error:
                is_trial = model_folder is not None  # one that does not fit into memory has failed, and is not begun again
                if isinstance(error, TrainingError) or (is_trial and is_out_of_memory(error)):
                    attempt.checkpoints.delete()  # going on from there would end the same way
                raise
    _show(result, inputs.config.title, None if parent_id else tracker)
    return result


def _without_command(config: configs.TrainConfig) -> configs.TrainConfig:
    """The configuration of the training alone, as it is recorded, without what the command does with it."""
    names = describe_fields(configs.TrainConfig)
    return configs.TrainConfig(**{name: value for name, value in as_dict(config).items() if name in names})


@dataclass(frozen=True)
class _Job:
    """What there is to do, settled before the first process begins; `run` says what those without a word are."""

    inputs: TrainingInputs
    attempt: Attempt
    tracker: Tracker
    precision: Precision
    replay: bool
    """Whether what an interrupted run has reported must be written again, because another run goes on with it."""
    began: float
    """When, by `time.perf_counter`."""
    tags: Mapping[str, str]
    model_folder: Path | None
    stop_rule: StopRule | None
    fit_with: Callable[[FitPlan, Callback], FitResult]
    is_alone: bool
    """Whether no study has said what the data hold."""


def _train_together(rank: int, job: _Job, run_id: str) -> TrainResult:
    """One of several processes that train: the first writes to the run, the others to nothing."""
    if rank == 0:
        return _train(job, job.tracker.open_for_update(run_id))
    nowhere = MemoryTracker()  # and the first alone decides when to stop
    return _train(dataclasses.replace(job, tracker=nowhere, stop_rule=None), nowhere.start(run_id), only_helps=True)


def _train(job: _Job, logger: RunLogger, only_helps: bool = False) -> TrainResult:
    """Fine-tune the encoder."""
    inputs, config, precision = job.inputs, job.inputs.config, job.precision
    assert isinstance(inputs, EncoderInputs)
    say(f"{config.title} on {inputs.describe(precision)}: run {logger.run_id}")
    log_start(inputs, logger, precision, job.tags)
    texts = read_texts(inputs)
    log_data(inputs, logger, len(texts.train), texts.train.losses)
    if job.is_alone and not only_helps and texts.train.losses is not None:
        losses, max_length = texts.train.losses.metrics(), inputs.max_length(texts.tokenizer)
        for line in describe_losses(losses, max_length, config.model, config.long_texts):
            say(f"  {line}")
    collector.resume()
    memory = MemoryMeter()
    built = build(inputs, texts)
    logger.log_text(parameter_table(built.parameters), "parameters.csv")
    if not only_helps:
        plan = built.parameters
        say(f"  {plan.trainable_count:,} of {plan.total_count:,} parameters train, {plan.trainable_percent:.4g} %")
    already = frozenset[tuple[str, int]]() if job.replay else logged_points(job.tracker, logger.run_id)
    counts = count_classes(texts.validation.labels, inputs.prepared.manifest.classes)
    callback = TrainingObserver(logger, config.title, already, job.stop_rule, counts)
    replay_history(job.attempt, logger, already)
    try:
        result = job.fit_with(plan_fit(inputs, texts, built, precision, job.attempt.checkpoints), callback)
        callback.settle()
    finally:
        callback.close()
    if not only_helps:
        peaks = memory.peaks()  # before saving, which takes memory of its own
        record = describe_model(inputs, texts, built, result.best)
        model_bytes = _save(built, record, logger, job, built.strategy.packages)
        if chosen := inputs.objective.task.describe_choice(record.validation):
            logger.log_text(chosen, "thresholds.csv")
        metrics = result.metrics(built.parameters, config, precision)
        log_end(logger, result, metrics, peaks, model_bytes, job.began)
    collapse = describe_unlearned_sets(result.best, texts.validation.labels, config) or describe_collapse(
        result.best,
        callback.last_scores or result.best,
        counts,
        config,
        texts.train.losses,
        total_steps=result.total_steps,
        solved=built.strategy.is_solved,
    )
    return TrainResult(logger.run_id, config.strategy, dict(result.best), collapse)


def _train_baseline(inputs: BaselineInputs, job: _Job, logger: RunLogger) -> TrainResult:
    """Let a strategy without an encoder learn, in this process whatever `--num-processes` says of others."""
    config = inputs.config
    say(f"{config.title} on {inputs.describe(job.precision)}: run {logger.run_id}")
    log_start(inputs, logger, job.precision, job.tags)
    train, validation = inputs.read("train"), inputs.read("validation")
    log_data(inputs, logger, len(train))
    memory = MemoryMeter()
    counts = count_classes(validation.labels, inputs.prepared.manifest.classes)
    already = logged_points(job.tracker, logger.run_id)
    callback = TrainingObserver(logger, config.title, already, job.stop_rule, counts)
    try:
        trained = train_baseline(inputs, train, validation, callback)
        callback.settle()
    finally:
        callback.close()
    learned, peaks = trained.model.learned, memory.peaks()
    logger.log_text(learned_table(learned), "parameters.csv")
    say(f"  {sum(array.size for array in learned.arrays.values()):,} numbers were learned from {len(train):,} texts")
    record = describe_baseline(inputs, trained)
    model_bytes = _save(trained.model, record, logger, job, inputs.strategy.packages)
    if chosen := inputs.objective.task.describe_choice(record.validation):
        logger.log_text(chosen, "thresholds.csv")
    log_end(logger, trained.result, trained.result.common_metrics(), peaks, model_bytes, job.began)
    best = trained.result.best
    collapse = describe_collapse(best, best, counts, config, total_steps=1, solved=True) if inputs.strategy.reads_texts else ""
    return TrainResult(logger.run_id, config.strategy, dict(best), collapse)


def _save(
    made: BuiltModel | BaselineModel,
    record: ModelRecord,
    logger: RunLogger,
    job: _Job,
    packages: Sequence[str],
) -> int:
    """Write the model's files into the job's folder, or onto the run where it has none; returns their size in bytes."""
    with job.attempt.checkpoints.scratch() as scratch:
        folder = job.model_folder or scratch / NAME
        write_model_folder(folder, made, record)
        if job.model_folder is None:
            logger.log_model(folder, packages)
        return sum(file.stat().st_size for file in folder.iterdir())


def describe_collapse(
    best: Scores,
    last: Scores,
    class_counts: Sequence[int],
    config: FitConfig,
    tokens: TokenLosses | None = None,
    *,
    total_steps: int,
    solved: bool = False,
) -> str:
    """That a training did not learn, or lost what it had learned, and what to try; empty where it learned.

    Args:
        best: Validation metrics of the checkpoint that was kept.
        last: Those of the end of training.
        class_counts: Validation examples of each class; none where labels are scores.
        tokens: What is lost of the training texts: where next to nothing is left, that is the cause, and not the rate.
        total_steps: Of the whole training: where all of them are warm-up, that is the cause.
        solved: Whether the strategy finds the classifier in one step, so that there is no rate.
    """
    if len(class_counts) < 2 or (has_learned(best, class_counts) and has_learned(last, class_counts)):
        return ""
    rate, warmup, epochs = (flag(name) for name in ("learning_rate", "warmup_ratio", "epochs"))
    unknown = 0.0 if tokens is None else tokens.metrics()[UNKNOWN]
    slower = f"Lower {rate} ({config.learning_rate:g}) or raise {warmup} ({config.warmup_ratio:g})"
    if has_learned(best, class_counts):
        return (
            f"training collapsed: accuracy was {last[ACCURACY.name]:.4f} at its end, no better than a guess; the checkpoint "
            f"with {best[ACCURACY.name]:.4f} was kept. {slower}."
        )
    texts = sum(class_counts)
    interval = wilson_interval(round(best[ACCURACY.name] * texts), texts)
    way_out = f"{slower}; if the training loss still fell at the end, raise {rate} or {epochs} ({config.epochs})."
    if solved:
        way_out = (
            "It is solved for, not trained by steps: no learning rate plays a part. Give it more examples, "
            f"{'choose a --head with other features, ' if config.model else ''}or a --strategy that trains the encoder."
        )
    elif warmup_steps(total_steps, config.warmup_ratio) >= total_steps:
        whole = "its only step is" if total_steps == 1 else f"all of its {total_steps} steps are"
        way_out = (
            f"The cause: {whole} warm-up, which begins at a rate of 0 and never reached {rate} ({config.learning_rate:g}). "
            f"Lower {warmup} ({config.warmup_ratio:g}; 0 is none), or give it more steps: raise {epochs} ({config.epochs}), "
            f"lower {flag('batch_size')} ({config.batch_size})."
        )
    if unknown >= MOSTLY_UNKNOWN:
        way_out = f"The cause: {explain_unknown(unknown, config.model)}"
    return (
        f"it did not learn: the 95 % interval of its accuracy, {interval.low:.3f} to {interval.high:.3f}, is not above the "
        f"{max(class_counts) / texts:.3f} of always answering the most frequent class. {way_out}"
    )


def describe_unlearned_sets(best: Scores, gold: NDArray[Any], config: FitConfig) -> str:
    """That a training on label sets did not learn, or never gave a label, and what to try; empty where it did.

    Args:
        gold: Validation labels as the loss takes them; of one class or score an example nothing is said.
    """
    if gold.ndim < 2:
        return ""
    chance = area_of_chance(gold.astype(bool))
    rate, epochs = f"{flag('learning_rate')} ({config.learning_rate:g})", f"{flag('epochs')} ({config.epochs})"
    if best[AUROC.name] <= chance:
        return (
            f"it did not learn: its AUROC, {best[AUROC.name]:.3f}, is not above the {chance:.3f} that a model blind to the "
            f"text may reach by chance. Lower {rate}; if the training loss still fell at the end, raise it or {epochs}."
        )
    if best[F1_MACRO.name] == 0:
        return (
            f"no label reached a probability of 0.5 on any text, so {F1_MACRO.label} at 0.5 could not choose a checkpoint: the "
            f"first was kept. Raise {rate} or {epochs}, or choose by {flag('metric_for_best_model')} {AVERAGE_PRECISION.name}."
        )
    return ""


def has_learned(scores: Scores, class_counts: Sequence[int]) -> bool:
    """Whether validation scores are shown to be above what a guess reaches that does not read the text.

    The interval of macro F1 is taken to be as wide as that of accuracy, Wilson's.

    Args:
        class_counts: Validation examples of each class.
    """
    texts = sum(class_counts)
    accuracy, f1 = wilson_interval(round(scores[ACCURACY.name] * texts), texts), scores[F1.name]
    of_f1 = Interval(f1, f1 + accuracy.low - accuracy.value, f1 + accuracy.high - accuracy.value)
    return beats_guessing(accuracy, of_f1, max(class_counts) / texts, len(class_counts))


def _show(result: TrainResult, title: str, tracker: Tracker | None) -> None:
    """Say how it ended, and what to do next unless that is being done already."""
    say(f"{title}: validation {describe_scores(result.validation)}")
    if result.collapse:
        say(f"{title}: {result.collapse}")
    if tracker is not None:
        say(f"Run {result.run_id}. Next: {next_command('evaluate', tracker, run_id=result.run_id)}")
