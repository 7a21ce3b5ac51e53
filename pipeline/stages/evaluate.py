"""The stage `evaluate`: score a model on test data. No other stage reads test data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from pipeline import config as configs
from pipeline.config.fields import describe_fields
from pipeline.config.identity import identify, settings_hash
from pipeline.config.stage import flag
from pipeline.data.columns import Problem
from pipeline.data.long_texts import LongTextReading, refuse_idle_overlap
from pipeline.data.overlap.texts import overlap_metrics
from pipeline.data.prepared import PreparedData, prepare
from pipeline.errors import ConfigError, ModelError, enumerate_some
from pipeline.evaluation.metric import LabelType, list_metrics
from pipeline.evaluation.testing.scoring import inputs_of, read_test
from pipeline.given_paths import expand
from pipeline.modeling.foreign_folders import find_trained_model
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.stages.exporting.onnx_model import OnnxModel, find_onnx_folder, load_onnx_folder
from pipeline.stages.progress import next_command, say, say_scores
from pipeline.stages.run_record import check_data, check_finished, log_datasets, naming_damage, origin_tags, read_config
from pipeline.stages.testing.answering import Answering, begin_memory, is_measured, list_files
from pipeline.stages.testing.exported import describe_exported, read_outputs, with_own_length, with_own_thresholds
from pipeline.stages.testing.other_test import OF_DATA, find_other_test, run_other_test
from pipeline.stages.testing.test import describe_part, log_test, scoring_version
from pipeline.stages.testing.transfer import (
    TransferData,
    check_transfer,
    find_transfer,
    is_transferred,
    log_transfer,
    refuse_idle_transfer,
)
from pipeline.tracking import open_tracker
from pipeline.tracking.run_kinds import EXTERNAL, trains_no_encoder
from pipeline.tracking.runs import Run, RunLogger, RunStore, Tracker, closing
from pipeline.tracking.tags import Tag
from pipeline.training.inference import TrainedModel
from pipeline.training.memory.allocator import keep_what_is_freed
from pipeline.training.saved_model import find_base, load_foreign_model, load_model_folder, read_record

_WITH_A_RUN = ("run_id", "split_part", "force", *describe_fields(configs.MeasuringConfig))
_LABEL_TYPES: tuple[LabelType, ...] = ("class", "multi", "score")


@dataclass(frozen=True)
class EvaluateResult:
    """Test scores of one model."""

    run_id: str
    """The run that carries the scores."""
    test: Mapping[str, float]
    """Metric -> value."""
    recorded: bool = False
    """Whether they had been measured before, by the same code."""
    on: str = ""
    """What they are of, where that is not all of the test part."""


def run(
    config: configs.EvaluateConfig, tracker: Tracker | None = None, parent_id: str | None = None, at_once: int = 1
) -> EvaluateResult:
    """Evaluate the run or the model that `config` names.

    Args:
        at_once: How many trainings and tests run at once, this one among them.

    Raises:
        InputError: There is no such run or model, or it does not fit the data.
    """
    _check(config)
    refuse_idle_transfer(config)
    keep_what_is_freed()
    tracker = tracker or open_tracker()
    if config.run_id and (other := find_other_test(config, tracker)):
        if "latency_seconds" in config.explicit:
            raise ConfigError(
                f"{flag('latency_seconds')} {config.latency_seconds:g}: what answers cost is measured with a run's own test, "
                f"not on other data. Leave it out, or leave out {flag('dataset')} and {flag('split_part')}."
            )
        measured = run_other_test(config, other, tracker, parent_id)
        result = EvaluateResult(measured.run_id, measured.test, on=measured.on)
        after = f"Run {measured.run_id} holds these scores of run {config.run_id}; no table takes them in."
    else:
        of = _of_run if config.run_id else _of_model
        result = of(config, tracker, parent_id, at_once)
        after = f"Run {result.run_id}. Next: {next_command('compare', tracker, study='all')}"
    scores = say_scores(result.test, list_metrics())
    recorded = " (recorded before; --force true measures again)" if result.recorded else ""
    say(f"Test{f' on {result.on}' if result.on else ''}: {scores}{recorded}")
    if parent_id is None:
        say(after)
    return result


def _check(config: configs.EvaluateConfig) -> None:
    if bool(config.run_id) == bool(config.model):
        given = "both" if config.run_id else "neither"
        raise ConfigError(f"evaluate takes either --run-id or --model with --dataset, and got {given}. Give one.")
    if config.model and not config.dataset:
        raise ConfigError(f"--model {config.model} needs --dataset: which data shall it be tested on?")
    if config.model and config.split_part:
        raise ConfigError(
            f"--split-part {config.split_part}: goes with --run-id. A model from elsewhere becomes a row of the table, so "
            "it is tested on the test part. Leave it out."
        )
    allowed = (
        *_WITH_A_RUN,
        *(OF_DATA if config.dataset else ("max_eval_samples",) if config.split_part in ("train", "validation") else ()),
    )
    typed = [flag(name) for name in config.explicit if name not in allowed]
    if config.run_id and typed:
        way_out = "" if config.dataset else ", or name other data with --dataset"
        raise ConfigError(
            "--run-id is tested as it was trained, and on the data it was trained on unless there is --dataset. "
            f"Leave out {', '.join(typed)}{way_out}."
        )
    if config.transfer_dataset and config.run_id and (config.split_part or config.dataset):
        raise ConfigError(
            f"--transfer-dataset {config.transfer_dataset}: stands beside a run's own test. Leave it out, or leave out "
            "--dataset and --split-part."
        )


def _of_run(config: configs.EvaluateConfig, tracker: Tracker, parent_id: str | None, at_once: int) -> EvaluateResult:
    began = time.perf_counter()
    trained = tracker.get(config.run_id or "")
    check_finished(trained)
    recorded = _recorded(trained)
    tested = not config.force and is_evaluated(trained, tracker)
    if not config.force and is_done(config, trained, tracker):
        with closing(_start(trained, tracker, parent_id)) as logger:
            _log_identity(logger, config, trained, trained.tags["data_fingerprint"])
        return EvaluateResult(trained.run_id, recorded, recorded=True, on=describe_part(trained))
    train_config = read_config(tracker, trained, config.cache_dir)
    prepared, _ = prepare(train_config.dataset, train_config)
    check_data(trained, prepared)
    table = read_test(prepared, train_config.max_eval_samples, train_config.split_seed)
    transfer = _find_transfer(config, prepared, train_config.split_seed)
    memory = begin_memory(encoder=not trains_no_encoder(trained))
    with tracker.open_model(trained.run_id) as folder, naming_damage(tracker, trained):
        model = load_model_folder(folder, train_config.acceleration, config.cache_dir)
        with closing(_start(trained, tracker, parent_id)) as logger:
            _log_identity(logger, config, trained, prepared.manifest.fingerprint)
            target = tracker.open_for_update(trained.run_id)
            if config.latency_seconds and (config.force or not is_measured(trained)):
                files = list_files(folder, find_base(read_record(folder), config.cache_dir))
                inputs = inputs_of(table)
                Answering(model, inputs, files, config.latency_seconds, memory, at_once).measure(target, trained.name)
            if tested:
                test = recorded
            else:
                test = _test(model, prepared, table, target, trained.name)
                target.set_tags({Tag.TEST_CODE_VERSION: scoring_version(trained)})
            if transfer:
                limit, tags = train_config.max_eval_samples, transfer.measured_by(scoring_version(trained))
                log_transfer(model, transfer, prepared, limit, target, tags)
            target.update_model()
            logger.log_metrics({"cost/wall_seconds": time.perf_counter() - began})
    return EvaluateResult(trained.run_id, test, recorded=tested, on=describe_part(tracker.get(trained.run_id)))


def _start(trained: Run, tracker: Tracker, parent_id: str | None) -> RunLogger:
    return tracker.start(f"evaluate-{trained.name}", parent_id, {Tag.EVALUATES: trained.run_id})


def _recorded(trained: Run) -> dict[str, float]:
    """The test scores that a run carries, of whichever label type; none unless it carries all of them."""
    for label_type in _LABEL_TYPES:
        scores = {metric: trained.metrics.get(f"test/{metric.name}") for metric in list_metrics(label_type)}
        if all(value is not None or metric.uses_probabilities for metric, value in scores.items()):
            return {metric.name: value for metric, value in scores.items() if value is not None}
    return {}


def is_evaluated(trained: Run, tracker: RunStore) -> bool:
    """Whether a run holds a test result, with its predictions, that this code would measure again as it is."""
    return (
        bool(_recorded(trained))
        and trained.tags.get(Tag.TEST_CODE_VERSION) == scoring_version(trained)
        and tracker.has_artifact(trained.run_id, "predictions.csv")
    )


def is_done(config: configs.EvaluateConfig, trained: Run, tracker: RunStore) -> bool:
    """Whether a run holds all that is asked for: its test result, what answers cost, and scores on a second data set.

    Raises:
        DataError: The second data set cannot be read.
    """
    if not is_evaluated(trained, tracker) or (config.latency_seconds and not is_measured(trained)):
        return False
    if config.transfer_dataset is None:
        return True
    train_config = read_config(tracker, trained, config.cache_dir)
    classes = prepare(train_config.dataset, train_config)[0].manifest.classes
    return is_transferred(trained, config, classes, train_config.split_seed, scoring_version(trained))


def _find_transfer(
    config: configs.EvaluateConfig, prepared: PreparedData, split_seed: int | None = None
) -> TransferData | None:
    """The second data set, if one was asked for; cut by the options' seed, unless that of a training is given."""
    if config.transfer_dataset is None:
        return None
    check_transfer(config.transfer_dataset, prepared.manifest.problem)
    return find_transfer(config, prepared.manifest.classes, config.split_seed if split_seed is None else split_seed)


def _of_model(config: configs.EvaluateConfig, tracker: Tracker, parent_id: str | None, at_once: int) -> EvaluateResult:
    name, dataset = config.model or "", config.dataset or ""
    folder = expand(name)
    graph = find_onnx_folder(folder)
    if trained := graph or (find_trained_model(folder) if folder.is_dir() else None):
        if config.model_labels:
            raise ConfigError(f"--model-labels: {name} was trained here and knows its classes. Leave --model-labels out.")
        if config.base_model:
            raise ConfigError(f"--base-model {config.base_model}: --model {name} is no adapter. Leave --base-model out.")
        if typed := [flag(option) for option in ("long_texts", "window_overlap") if option in config.explicit]:
            raise ConfigError(
                f"{' and '.join(typed)}: {name} was trained here and reads long texts as it did in training. Leave "
                f"{' and '.join(typed)} out."
            )
        prepared, _ = prepare(dataset, config)
        table, transfer = read_test(prepared, config.max_eval_samples, config.split_seed), _find_transfer(config, prepared)
        memory = begin_memory()
        model: TrainedModel = load_onnx_folder(graph) if graph else load_model_folder(trained, cache_dir=config.cache_dir)
        files = list_files(trained, None if graph else find_base(read_record(trained), config.cache_dir))
        _check_fits(name, model.problem, dataset, prepared.manifest.problem)
    else:
        refuse_idle_overlap(config.explicit, [config.long_texts])
        address = find_pretrained(name, config.model_revision, config.base_model, config.cache_dir)
        address.encoder  # noqa: B018  # an unknown architecture is refused before any data is read
        prepared, _ = prepare(dataset, config)
        table, transfer = read_test(prepared, config.max_eval_samples, config.split_seed), _find_transfer(config, prepared)
        memory = begin_memory()
        reading, problem = LongTextReading.of(config), prepared.manifest.problem
        files = address.files()
        made = read_outputs(address)
        config = with_own_length(config, made) if made else config
        model, note = load_foreign_model(address, problem, config.max_length, config.model_labels, reading)
        lines = [address.note, note]
        if made:
            model = with_own_thresholds(model, made, address, config.model_labels)
            lines += describe_exported(model, made, name)
        for line in filter(None, lines):
            say(line)
    title = f"{EXTERNAL}-{folder.name}"
    with closing(tracker.start(title, parent_id)) as logger:
        began = time.perf_counter()
        _log_identity(logger, config, None, prepared.manifest.fingerprint)
        logger.set_tags({"strategy": EXTERNAL, **(model.tags if isinstance(model, OnnxModel) else {})})
        logger.log_metrics(model.size_metrics)
        if config.latency_seconds:
            Answering(model, inputs_of(table), files, config.latency_seconds, memory, at_once).measure(logger, title)
        # Whoever trained it may have had the same train part; its row must carry the same warning as those beside it.
        logger.log_metrics(overlap_metrics({"train/test": prepared.manifest.overlap["train/test"]}))
        test = _test(model, prepared, table, logger, title)
        if transfer:
            tags = transfer.measured_by(scoring_version(None))
            log_transfer(model, transfer, prepared, config.max_eval_samples, logger, tags)
        logger.log_metrics({"cost/wall_seconds": time.perf_counter() - began})
        run_id = logger.run_id
    return EvaluateResult(run_id, test, on=describe_part(tracker.get(run_id)))


def _check_fits(name: str, known: Problem, dataset: str, asked: Problem) -> None:
    """Whether a model can be asked what the data's labels answer."""
    if known.pairs != asked.pairs or known.label_type != asked.label_type:
        raise ModelError(
            f"--model {name}: was trained on {known.describe()}, but {dataset} has {asked.describe()} as --text-pair-column "
            "and --label-type say."
        )
    if sorted(known.classes) != sorted(asked.classes):
        raise ModelError(
            f"--model {name}: knows the classes {enumerate_some(known.classes)}, but {dataset} has "
            f"{enumerate_some(asked.classes)}."
        )


def _log_identity(logger: RunLogger, config: configs.EvaluateConfig, evaluates: Run | None, fingerprint: str) -> None:
    logger.log_params({"run_id": config.run_id} if config.run_id else identify(config))
    tags = {
        **origin_tags("evaluate", config, fingerprint),
        Tag.SETTINGS_HASH: settings_hash(config),
        Tag.CODE_VERSION: scoring_version(evaluates),
    }
    logger.set_tags(tags | ({Tag.EVALUATES: evaluates.run_id} if evaluates else {}))


def _test(model: TrainedModel, prepared: PreparedData, table: pd.DataFrame, logger: RunLogger, title: str) -> dict[str, float]:
    """Predict the test split and write all that comes of it onto the run of `logger`."""
    scores = log_test(model, prepared.manifest.classes, table, prepared.manifest.rows["test"], logger, title)
    log_datasets(logger, prepared, "test")
    return scores
