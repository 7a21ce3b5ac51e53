"""Train one encoder with one strategy, and log the run."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline import config as configs
from pipeline.data.overlap import overlap_metrics
from pipeline.data.scratch import replace_text
from pipeline.errors import ConfigError, RunError, TrainingError
from pipeline.modeling.addresses import PACKAGED
from pipeline.modeling.loading import load_tokenizer
from pipeline.objectives.registry import refuse_idle_pooling
from pipeline.stages.advise import resolve_strategy
from pipeline.stages.claim import claim
from pipeline.stages.data_summary import summarise_data
from pipeline.stages.inputs import TrainingInputs, find_inputs
from pipeline.stages.parallel import doubt_processes, run_processes
from pipeline.stages.progress import TrainingObserver, describe_scores, say
from pipeline.strategies.freezing import ParameterPlan
from pipeline.tracking import open_tracker
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.provenance import environment, git_commit, hardware
from pipeline.tracking.runs import RunLogger, Tracker, closing
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.loop import fit
from pipeline.training.meters import MIB, MemoryMeter
from pipeline.training.model_folder import NAME, ModelRecord, build_model, write_model_folder
from pipeline.training.plan import FitPlan
from pipeline.training.precision import Precision, choose_precision, compute_dtype, peak_flops_per_second
from pipeline.training.progress import FitResult, Observer
from pipeline.training.seeding import Seeds

StopRule = Callable[[int, Mapping[str, float]], bool]


@dataclass(frozen=True)
class TrainResult:
    """A finished training."""

    run_id: str
    strategy: str
    validation: Mapping[str, float]
    """Metrics of the selected checkpoint: loss; accuracy, precision_macro, recall_macro, f1_macro; or spearman, pearson."""


def run(
    config: configs.TrainConfig,
    tracker: Tracker | None = None,
    parent_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    model_folder: Path | None = None,
    stop_rule: StopRule | None = None,
    fit_with: Callable[[FitPlan, Observer], FitResult] = fit,
) -> TrainResult:
    """Train as `config` says; an interrupted training of the same configuration is continued.

    Args:
        parent_id: The run below which this one is nested.
        tags: Set on the run beside, or instead of, the usual ones.
        model_folder: Put the model there instead of onto the run.
        stop_rule: Asked after each evaluation whether to end, with step and validation metrics.
        fit_with: What trains; see `stages/heads_together.py`.

    Raises:
        InputError: A mistake of input; no run was made.
        TrainingError: Training failed; the run is marked FAILED.
    """
    began = time.perf_counter()
    if parent_id is None:  # in a study others may take what this objective does not
        refuse_idle_pooling(config.given, [config.objective])
    inputs = find_inputs(resolve_strategy(config))
    if parent_id is None:
        for line in (*summarise_data(inputs.prepared), *doubt_processes(config.num_processes)):
            say(line)
    with _claim(inputs) as attempt:
        tracker = tracker or open_tracker()
        precision = attempt.choose_precision(config.precision)
        logger, replay = _open_run(inputs, attempt, tracker, parent_id, tags)
        attempt.note(logger.run_id, precision, inputs.code_version)
        with closing(logger):
            try:
                others: dict[str, Any] = {"precision": precision, "replay": replay, "began": began, "tags": tags or {}}
                others |= {"model_folder": model_folder, "fit_with": fit_with, "stop_rule": stop_rule}
                if inputs.config.num_processes == 1:
                    result = _train(inputs, attempt, logger, tracker, **others)
                else:
                    run_id, count = logger.run_id, inputs.config.num_processes
                    result = run_processes(count, _train_together, inputs, attempt, tracker, run_id, others)
            except TrainingError:
                attempt.checkpoints.delete()  # going on from there would end the same way
                raise
        attempt.checkpoints.delete()
    _show(result, inputs.config.title, with_hint=parent_id is None)
    return result


def _train_together(
    rank: int, inputs: TrainingInputs, attempt: _Attempt, tracker: Tracker, run_id: str, others: Mapping[str, Any]
) -> TrainResult:
    """One of several processes that train: the first writes to the run, the others to nothing."""
    if rank == 0:
        return _train(inputs, attempt, tracker.amend(run_id), tracker, **others)
    nowhere, others = MemoryTracker(), {**others, "stop_rule": None}  # the first alone decides when to stop
    return _train(inputs, attempt, nowhere.start(run_id), nowhere, only_helps=True, **others)


def _train(
    inputs: TrainingInputs,
    attempt: _Attempt,
    logger: RunLogger,
    tracker: Tracker,
    precision: Precision,
    replay: bool,
    began: float,
    tags: Mapping[str, str],
    model_folder: Path | None,
    stop_rule: StopRule | None,
    fit_with: Callable[[FitPlan, Observer], FitResult],
    only_helps: bool = False,
) -> TrainResult:
    config, problem = inputs.config, inputs.prepared.manifest.problem
    settings = (
        f"seed {config.seed}, learning rate {config.learning_rate:g}, epochs {config.epochs}, batches of {config.batch_size}, "
        f"{precision}"
    )
    say(f"{config.title} on {config.dataset} with {config.model} ({settings}): run {logger.run_id}")
    _log_start(inputs, logger, precision)
    logger.set_tags(tags)
    tokenizer = load_tokenizer(inputs.address)
    train, validation = inputs.tokens("train", tokenizer), inputs.tokens("validation", tokenizer)
    inputs.log_datasets(logger, "train", "validation")
    # `compare` works from the tracking store alone, so what it must warn of stands on the run.
    logger.log_metrics(overlap_metrics({"train/test": inputs.prepared.manifest.overlap["train/test"]}))
    logger.log_metrics({"data/train_examples": len(train), "data/rows_train": inputs.prepared.manifest.rows["train"]})

    memory = MemoryMeter()
    seeds, context = Seeds.of(config), inputs.context()
    built = build_model(inputs.address, inputs.strategy, context, inputs.objective, seeds.head, seeds.adapters)
    logger.log_text(_parameter_table(built.parameters), "parameters.csv")
    already = frozenset[tuple[str, int]]() if replay else _logged_points(tracker, logger.run_id)
    observer = TrainingObserver(logger, config.title, already, stop_rule)
    if replay:
        _replay(attempt, logger)
    try:
        result = fit_with(
            FitPlan(
                model=built.model,
                encoder=context.encoder,
                parameters=built.parameters,
                train=train,
                validation=validation,
                reading=inputs.objective.reading,
                pad_id=tokenizer.pad_token_id,
                config=config,
                precision=precision,
                checkpoints=attempt.checkpoints,
                strategy=inputs.strategy,
                prefix_cache=inputs.prefix_cache(),
                base_identity=[inputs.base_sha256, inputs.strategy.load_kwargs(inputs.context()), version("transformers")],
            ),
            observer,
        )
    finally:
        observer.close()
    if only_helps:
        return TrainResult(logger.run_id, config.strategy, dict(result.best))
    peaks = memory.peaks()
    logger.set_tags({"frozen_prefix_cache": result.cache})
    record = ModelRecord(
        base=config.model if inputs.address.revision or config.model == PACKAGED else str(inputs.address.folder),
        base_revision=inputs.address.revision,
        base_sha256=inputs.base_sha256,
        strategy=config.strategy,
        strategy_args=config.strategy_args,
        classes=list(problem.classes),
        max_length=inputs.max_length(tokenizer),
        dropout=config.dropout,
        epochs=config.epochs,
        total_steps=context.total_steps,
        head=config.head,
        objective=config.objective,
        pooling=config.pooling,
        score_range=list(problem.score_range) if problem.score_range else None,
        pairs=problem.pairs,
        validation=dict(result.best),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder or Path(scratch) / NAME
        write_model_folder(folder, built, record)
        model_bytes = sum(file.stat().st_size for file in folder.iterdir())
        if model_folder is None:
            logger.log_model(folder)
    available = peak_flops_per_second(precision) * config.num_processes
    measured = {
        **peaks,
        "train/steps_per_epoch": result.total_steps / config.epochs,
        "cost/artifact_mb": model_bytes / MIB,
        "cost/model_flops_utilisation": result.flops / result.train_seconds / available,
        **result.figures,
    }
    _log_end(logger, built.parameters, result, measured, began)
    return TrainResult(logger.run_id, config.strategy, dict(result.best))


def find_interrupted(inputs: TrainingInputs) -> int | None:
    """The step of the last checkpoint from which this training would go on; None where nothing is left of an earlier one."""
    attempt = _Attempt(_folder(inputs))
    attempt.read()
    steps = attempt.checkpoints.steps()
    return steps[-1] if steps and attempt.code_version == inputs.code_version else None


def _folder(inputs: TrainingInputs) -> CheckpointFolder:
    return CheckpointFolder(Path(inputs.config.cache_dir) / "checkpoints" / inputs.identity[:16])


@dataclass
class _Attempt:
    """What is left on disk of an interrupted training of the same identity, and where this one keeps its own."""

    checkpoints: CheckpointFolder
    run_id: str | None = None
    precision: Precision | None = None
    code_version: str | None = None

    @property
    def _file(self) -> Path:
        return self.checkpoints.path / "run.json"

    def choose_precision(self, option: str) -> Precision:
        """That of the interrupted attempt, else what the option means here.

        Raises:
            ConfigError: This machine does not compute in it.
        """
        try:
            return choose_precision(self.precision or option)
        except ConfigError as error:
            if self.precision is None:
                raise
            raise ConfigError(
                f"{self.checkpoints.path} holds an interrupted training in {self.precision}, which cannot go on here: {error} "
                "Go on with it on a machine like the one it began on, or delete that folder to begin anew."
            ) from error

    def note(self, run_id: str, precision: Precision, code_version: str) -> None:
        """Write down which run this is, for whoever has to go on with it."""
        self.run_id, self.precision, self.code_version = run_id, precision, code_version
        replace_text(self._file, json.dumps({"run_id": run_id, "precision": precision, "code_version": code_version}))

    def read(self) -> None:
        """Take over what an earlier attempt wrote down."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            noted = json.loads(self._file.read_text())
            self.run_id, self.precision, self.code_version = noted["run_id"], noted["precision"], noted.get("code_version")


@contextlib.contextmanager
def _claim(inputs: TrainingInputs) -> Iterator[_Attempt]:
    """What an earlier attempt at the training left, for this process alone."""
    checkpoints = _folder(inputs)
    with claim(checkpoints.path.with_suffix(".lock"), "training"):
        attempt = _Attempt(checkpoints)
        attempt.read()
        yield attempt


def _open_run(
    inputs: TrainingInputs, attempt: _Attempt, tracker: Tracker, parent_id: str | None, tags: Mapping[str, str] | None
) -> tuple[RunLogger, bool]:
    """The run to write to, and whether an older run's records have to be written again because it is another run."""
    title = f"{inputs.config.title}-seed{inputs.config.seed}"
    if attempt.run_id is None:
        return tracker.start(title, parent_id, tags), False
    if attempt.code_version != inputs.code_version:
        return _begin_anew(attempt, attempt.run_id, tracker, title, parent_id, tags), False
    try:
        old = tracker.get(attempt.run_id)
    except RunError:  # another store, or it was deleted: the work is still good, its records are written again
        logger = tracker.start(title, parent_id, tags)
        logger.set_tags({"resumes": attempt.run_id})
        return logger, True
    if old.status == "FINISHED":
        attempt.checkpoints.delete()
        return tracker.start(title, parent_id, tags), False
    steps = attempt.checkpoints.steps()
    where = f"step {steps[-1]}" if steps else "the start: no checkpoint was written yet"
    say(f"Continuing run {old.run_id} from {where}.")
    if parent_id == old.parent_id and tracker.given_run_id() in (None, old.run_id):
        return tracker.reopen(old.run_id), False
    logger = tracker.start(title, parent_id, tags)
    logger.set_tags({"resumes": old.run_id})
    tracker.reopen(old.run_id).finish("KILLED", f"continued by run {logger.run_id}")
    return logger, True


def _begin_anew(
    attempt: _Attempt, old_id: str, tracker: Tracker, title: str, parent_id: str | None, tags: Mapping[str, str] | None
) -> RunLogger:
    """A new run in place of one that was interrupted when the code was another: half of each would be the result of neither."""
    logger = tracker.start(title, parent_id, tags)
    with contextlib.suppress(RunError):
        if old_id != logger.run_id and tracker.get(old_id).status != "FINISHED":
            say(f"The code of this training has changed since run {old_id} was interrupted: it begins anew.")
            tracker.amend(old_id).finish("KILLED", f"interrupted; made anew with changed code by run {logger.run_id}")
    attempt.checkpoints.delete()
    return logger


def _logged_points(tracker: Tracker, run_id: str) -> frozenset[tuple[str, int]]:
    """(metric, step) of everything by step that a reopened run holds."""
    names = [name for name in tracker.get(run_id).metrics if name.startswith(("train/", "val/"))]
    return frozenset((name, step) for name in names for step, _ in tracker.history(run_id, name))


def _replay(attempt: _Attempt, logger: RunLogger) -> None:
    """Write what the interrupted run had reported up to its last checkpoint into the run that carries it on."""
    for step, metrics in attempt.checkpoints.history():
        logger.log_metrics(metrics, step)


def _log_start(inputs: TrainingInputs, logger: RunLogger, precision: Precision) -> None:
    config = inputs.config
    identity = configs.identity(config)
    options = {name: value for name, value in identity.items() if name != "strategy_args"}
    chosen = f" Chosen by auto: {config.strategy_reason}." if config.strategy_reason else ""
    compute = {"compute_dtype": str(compute_dtype(precision)).removeprefix("torch.")}
    logger.log_params({**options, **config.strategy_args, **compute})
    logger.set_tags(
        {
            "stage": "train",
            "strategy": config.strategy,
            "strategy_args": json.dumps(config.strategy_args),
            "recipe": config.recipe,
            "data_fingerprint": inputs.prepared.manifest.fingerprint,
            "num_processes": str(config.num_processes),
            "config_hash": inputs.config_hash(precision),
            "base_sha256": inputs.base_sha256,
            "settings_hash": configs.settings_hash(config),
            "git_commit": git_commit(),
            "code_version": inputs.code_version,
            "hardware": hardware(),
            "mlflow.note.content": f"{inputs.strategy.summary()} Base: {config.model}; data: {config.dataset}.{chosen}",
            **{name: value for name in ("strategy_reason", "entry") if (value := getattr(config, name))},
        }
    )
    logger.log_text(json.dumps(dataclasses.asdict(config), indent=1), "config.json")
    logger.log_text(json.dumps(environment(), indent=1), "environment.json")
    # `compare` shows what the data hold, also where no run of `prepare_data` says so.
    manifest = json.dumps(dataclasses.asdict(inputs.prepared.manifest), indent=1, ensure_ascii=False)
    logger.log_text(manifest, "manifest.json")


def _log_end(
    logger: RunLogger, parameters: ParameterPlan, result: FitResult, measured: Mapping[str, float], began: float
) -> None:
    metrics: dict[str, float] = {
        "model/trainable_params": parameters.trainable_count,
        "model/total_params": parameters.total_count,
        "model/trainable_percent": parameters.trainable_percent,
        "train/loss_mean": result.train_loss_mean,
        "cost/train_seconds": result.train_seconds,
        "cost/cache_seconds": result.cache_seconds,
        "cost/examples": result.examples,
        "cost/examples_per_second": result.examples / result.train_seconds,
        "cost/tokens_per_second": result.tokens / result.train_seconds,
        "cost/total_flops": result.flops,
        **measured,
        "cost/wall_seconds": time.perf_counter() - began,
    }
    if result.best_step != result.steps:  # so that the selected checkpoint's are the run's latest
        metrics |= {f"val/{name}": value for name, value in result.best.items()}
    logger.log_metrics(metrics, result.steps)


def _parameter_table(parameters: ParameterPlan) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "shape", "size", "trains"])
    for parameter in parameters.parameters:
        writer.writerow([parameter.name, "x".join(map(str, parameter.shape)), parameter.size, parameter.trains])
    return text.getvalue()


def _show(result: TrainResult, title: str, with_hint: bool) -> None:
    """Say how it ended, and what to do next unless that is being done already."""
    say(f"{title}: validation {describe_scores(result.validation)}")
    if with_hint:
        say(f"Run {result.run_id}. Next: python -m pipeline evaluate --run-id {result.run_id}")
