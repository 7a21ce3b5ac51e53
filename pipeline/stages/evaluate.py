"""Score a model on test data: the only stage that reads any."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import config as configs
from pipeline.comparison.selection import EXTERNAL, has_test_result
from pipeline.data.overlap import overlap_metrics
from pipeline.data.prepared import PreparedData, prepare
from pipeline.data.problem import Problem
from pipeline.data.sources import LABEL, PAIR, TEXT
from pipeline.data.splits import choose_sample
from pipeline.errors import ConfigError, DataError, ModelError, RunError, enumerate_some
from pipeline.evaluation.readings import CLASS_METRICS, SCORE_METRICS
from pipeline.fields import build
from pipeline.hashing import digest
from pipeline.modeling.addresses import find_model
from pipeline.options import flag
from pipeline.stages.inputs import log_datasets
from pipeline.stages.progress import say
from pipeline.tracking import open_tracker
from pipeline.tracking.provenance import git_commit
from pipeline.tracking.runs import Run, RunLogger, Tracker, closing
from pipeline.training.model_folder import (
    FineTunedModel,
    is_model_folder,
    load_foreign_model,
    load_model_folder,
)

_TRAINED = ("train", "trial")
_KNOWN = (*CLASS_METRICS, *SCORE_METRICS)


@dataclass(frozen=True)
class EvaluateResult:
    """Test scores of one model."""

    run_id: str
    """The run that carries the scores."""
    test: Mapping[str, float]
    """accuracy, precision_macro, recall_macro, f1_macro; or of scores spearman and pearson."""
    recorded: bool = False
    """Whether they had been measured before."""


def run(config: configs.EvaluateConfig, tracker: Tracker | None = None, parent_id: str | None = None) -> EvaluateResult:
    """Evaluate the run or the model that `config` names.

    Raises:
        InputError: There is no such run or model, or it does not fit the data.
    """
    _check(config)
    tracker = tracker or open_tracker()
    result = _of_run(config, tracker, parent_id) if config.run_id else _of_model(config, tracker, parent_id)
    scores = ", ".join(f"{name.replace('_', ' ')} {result.test[name]:.4f}" for name in _KNOWN if name in result.test)
    recorded = " (recorded before; --force true measures again)" if result.recorded else ""
    say(f"Test: {scores}{recorded}")
    if parent_id is None:
        say(f"Run {result.run_id}. Next: python -m pipeline compare --study all")
    return result


def _check(config: configs.EvaluateConfig) -> None:
    if bool(config.run_id) == bool(config.model):
        given = "both" if config.run_id else "neither"
        raise ConfigError(f"evaluate takes either --run-id or --model with --dataset, and got {given}. Give one.")
    if config.model and not config.dataset:
        raise ConfigError(f"--model {config.model} needs --dataset: which data shall it be tested on?")
    typed = [flag(name) for name in config.given if name not in ("run_id", "force", "cache_dir")]
    if config.run_id and (config.dataset or typed):
        raise ConfigError(
            f"--run-id is tested on the data it was trained on, as it was trained. Leave out {', '.join(typed) or '--dataset'}."
        )


def _of_run(config: configs.EvaluateConfig, tracker: Tracker, parent_id: str | None) -> EvaluateResult:
    trained = tracker.get(config.run_id or "")
    _check_run(trained)
    recorded = {name: trained.metrics[f"test/{name}"] for name in _KNOWN if f"test/{name}" in trained.metrics}
    if not config.force and has_test_result(trained):
        with closing(tracker.start(f"evaluate-{trained.name}", parent_id)) as logger:
            _log_identity(logger, config, trained.run_id, trained.tags["data_fingerprint"])
        return EvaluateResult(trained.run_id, recorded, recorded=True)
    with tempfile.TemporaryDirectory() as scratch:
        train_config = _read_config(tracker, trained, Path(scratch), config.cache_dir)
        prepared, _ = prepare(train_config.dataset, train_config)
        _check_fingerprint(trained, prepared)
        table = _read_test(prepared, train_config.max_eval_samples, train_config.split_seed)
        model = load_model_folder(tracker.download_model(trained.run_id, Path(scratch)))
        with closing(tracker.start(f"evaluate-{trained.name}", parent_id)) as logger:
            _log_identity(logger, config, trained.run_id, prepared.manifest.fingerprint)
            target = tracker.amend(trained.run_id)
            test = _test(model, prepared, table, target, trained.name)
    return EvaluateResult(trained.run_id, test)


def _check_run(trained: Run) -> None:
    if trained.stage not in _TRAINED:
        made_by = f"made by the stage {trained.stage}" if trained.stage else "not made by this project"
        raise RunError(f"--run-id {trained.run_id}: was {made_by}, not by train. Give the id of a trained run.")
    if trained.status != "FINISHED":
        detail = f" ({trained.tags['status_detail']})" if "status_detail" in trained.tags else ""
        raise RunError(
            f"--run-id {trained.run_id}: did not finish, its status is {trained.status}{detail}. "
            "Run the same train command again; it continues where it stopped."
        )


def _read_config(tracker: Tracker, trained: Run, scratch: Path, cache_dir: str) -> configs.TrainConfig:
    text = tracker.download(trained.run_id, "config.json", scratch).read_text(encoding="utf-8")
    recorded = build(configs.TrainConfig, json.loads(text), label=flag, kind=f"option in run {trained.run_id}:")
    return dataclasses.replace(recorded, cache_dir=cache_dir)


def _check_fingerprint(trained: Run, prepared: PreparedData) -> None:
    then, now = trained.tags["data_fingerprint"], prepared.manifest.fingerprint
    if then != now:
        raise DataError(
            f"--run-id {trained.run_id}: was trained on data with fingerprint {then[:12]}, but {prepared.manifest.address} "
            f"gives {now[:12]} now. Put the old data back, or train again."
        )


def _of_model(config: configs.EvaluateConfig, tracker: Tracker, parent_id: str | None) -> EvaluateResult:
    name, dataset = config.model or "", config.dataset or ""
    folder = Path(name).expanduser()
    if folder.is_dir() and is_model_folder(folder):
        prepared, _ = prepare(dataset, config)
        model = load_model_folder(folder)
        _check_fits(name, model.problem, dataset, prepared.manifest.problem)
    else:
        address = find_model(name, config.model_revision)
        address.encoder  # noqa: B018  # an unknown architecture is refused before any data is read
        prepared, _ = prepare(dataset, config)
        model = load_foreign_model(address, prepared.manifest.problem, config.max_length)
    table = _read_test(prepared, config.max_eval_samples, config.split_seed)
    title = f"{EXTERNAL}-{folder.name}"
    with closing(tracker.start(title, parent_id)) as logger:
        began = time.perf_counter()
        _log_identity(logger, config, None, prepared.manifest.fingerprint)
        logger.set_tags({"strategy": EXTERNAL})
        logger.log_metrics({"model/total_params": sum(parameter.numel() for parameter in model.model.parameters())})
        # Whoever trained it may have had the same train part; its row must carry the same warning as those beside it.
        logger.log_metrics(overlap_metrics({"train/test": prepared.manifest.overlap["train/test"]}))
        test = _test(model, prepared, table, logger, title)
        logger.log_metrics({"cost/wall_seconds": time.perf_counter() - began})
        run_id = logger.run_id
    return EvaluateResult(run_id, test)


def _check_fits(name: str, known: Problem, dataset: str, asked: Problem) -> None:
    """Whether a model can be asked what the data's labels answer."""
    if known.pairs != asked.pairs or bool(known.score_range) != bool(asked.score_range):
        raise ModelError(
            f"--model {name}: was trained on {known.describe()}, but {dataset} has {asked.describe()} as --text-pair-column "
            "and --label-type say."
        )
    if sorted(known.classes) != sorted(asked.classes):
        raise ModelError(
            f"--model {name}: knows the classes {enumerate_some(known.classes)}, but {dataset} has "
            f"{enumerate_some(asked.classes)}."
        )


def _log_identity(logger: RunLogger, config: configs.EvaluateConfig, evaluates: str | None, fingerprint: str) -> None:
    logger.log_params({"run_id": config.run_id} if config.run_id else configs.identity(config))
    tags = {
        "stage": "evaluate",
        "data_fingerprint": fingerprint,
        "config_hash": digest(configs.identity(config)),
        "settings_hash": configs.settings_hash(config),
        "git_commit": git_commit(),
    }
    logger.set_tags(tags | ({"evaluates": evaluates} if evaluates else {}))


def _read_test(prepared: PreparedData, limit: int | None, seed: int) -> pd.DataFrame:
    """The test texts that are used."""
    table = prepared.read("test")
    return table.iloc[choose_sample(len(table), limit, seed)].reset_index(drop=True)


def _test(
    model: FineTunedModel, prepared: PreparedData, table: pd.DataFrame, logger: RunLogger, title: str
) -> dict[str, float]:
    """Predict the test split and write scores, predictions and pictures onto the run of `logger`."""
    inputs = list(zip(*(table[name] for name in (TEXT, PAIR)), strict=True)) if PAIR in table else table[TEXT].tolist()
    report = model.reading.test(inputs, table[LABEL].to_numpy(), model.predict, prepared.manifest.classes, title)
    for file, text in report.tables.items():
        logger.log_text(text, file)
    for file, figure in report.figures.items():
        logger.log_figure(figure, file)
    log_datasets(logger, prepared, "test")
    logger.log_metrics({**{f"test/{name}": value for name, value in report.metrics.items()}, "test/examples": len(inputs)})
    return report.metrics
