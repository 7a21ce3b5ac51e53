"""Write a training's record onto its run; read a run back and check it."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline import config as configs
from pipeline.config import StageConfig
from pipeline.config.fields import build
from pipeline.config.identity import identify, settings_hash
from pipeline.config.stage import flag
from pipeline.csv_text import write_rows
from pipeline.data.overlap.texts import overlap_metrics
from pipeline.data.prepared import PreparedData
from pipeline.data.splits import SplitName
from pipeline.data.token_losses import TokenLosses
from pipeline.errors import DamagedModelError, DataError, ModelError, RunError, shorten
from pipeline.evaluation.metric import without_choices
from pipeline.given_paths import expand
from pipeline.hashing import digest
from pipeline.json_text import parse_json
from pipeline.modeling.foreign_folders import describe_folder, find_trained_model
from pipeline.strategies.parameter_plan import ParameterPlan
from pipeline.tracking.provenance import environment, git_commit, hardware
from pipeline.tracking.run_kinds import carries_our_tags, maker_of, was_trained_here
from pipeline.tracking.runs import Run, RunLogger, RunStore, Tracker
from pipeline.tracking.tags import DESCRIPTION, Tag
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.meters import MIB
from pipeline.training.plan import FitResult
from pipeline.training.precision import Precision
from pipeline.training.saved_model import check_model_folder

_REGISTRY = "models:/"


def origin_tags(stage: str, config: StageConfig, data_fingerprint: str) -> dict[str, str]:
    """The tags that name a run's stage, data, configuration and commit, and say what the stage does."""
    return {
        DESCRIPTION: " ".join((inspect.getdoc(type(config)) or "").partition("\n\n")[0].split()),
        "stage": stage,
        "data_fingerprint": data_fingerprint,
        "config_hash": digest(identify(config)),
        "git_commit": git_commit(),
    }


def log_start(inputs: TrainingInputs, logger: RunLogger, precision: Precision, tags: Mapping[str, str]) -> None:
    """What was asked for, by which code on which data and machine; enough to train it again.

    Args:
        tags: Beside, or instead of, the usual ones.
    """
    config = inputs.config
    options = {name: value for name, value in inputs.options(config).items() if name != "strategy_args"}
    base = f" Base: {config.model};" if config.model else " No encoder;"
    chosen = f" Chosen by auto: {config.strategy_reason}." if config.strategy_reason else ""
    named = {
        Tag.STRATEGY_REASON: config.strategy_reason,
        Tag.ENTRY: config.entry,
        Tag.BASE_SHA256: inputs.base_sha256,
        Tag.INFERRED_FAMILY: json.dumps(inputs.inferred) if inputs.inferred else "",
    }
    logger.log_params({**options, **config.strategy_args, **inputs.computation(precision)})
    logger.set_tags(
        {
            "stage": "train",
            "strategy": config.strategy,
            Tag.STRATEGY_ARGS: json.dumps(config.strategy_args),
            "recipe": config.recipe,
            "data_fingerprint": inputs.prepared.manifest.fingerprint,
            Tag.NUM_PROCESSES: str(config.num_processes),
            Tag.WORKERS: "1",  # unless who hands it out says otherwise
            "config_hash": inputs.config_hash(precision),
            Tag.SETTINGS_HASH: settings_hash(config),
            "git_commit": git_commit(),
            Tag.CODE_VERSION: inputs.code_version,
            Tag.HARDWARE: hardware(),
            DESCRIPTION: f"{inputs.strategy.summary()}{base} data: {config.dataset}.{chosen}",
            **{tag: value for tag, value in named.items() if value},
            **tags,
        }
    )
    logger.log_texts(
        {
            "config.json": json.dumps(dataclasses.asdict(config), indent=1),
            "environment.json": json.dumps(environment(), indent=1),
            # `compare` shows what the data hold, also where no run of `prepare_data` says so.
            "manifest.json": json.dumps(dataclasses.asdict(inputs.prepared.manifest), indent=1, ensure_ascii=False),
        }
    )


def log_data(inputs: TrainingInputs, logger: RunLogger, examples: int, losses: TokenLosses | None = None) -> None:
    """Which parts go in, how many examples are trained on, what is lost of them, and how far test overlaps them.

    `compare` works from the tracking store alone, so what it must warn of stands on the run.

    Args:
        examples: How many are trained on.
        losses: What their tokens lack of the texts; None where they are not cut into tokens.
    """
    manifest = inputs.prepared.manifest
    log_datasets(logger, inputs.prepared, "train", "validation")
    logger.log_outcome(
        {
            **overlap_metrics({"train/test": manifest.overlap["train/test"]}),
            "data/train_examples": examples,
            "data/validation_examples": inputs.count("validation"),
            "data/rows_train": manifest.rows["train"],
            **({} if losses is None else losses.metrics()),
        }
    )


def log_datasets(logger: RunLogger, prepared: PreparedData, *splits: SplitName) -> None:
    """Tell a run which splits of prepared data go in."""
    contexts: dict[SplitName, str] = {"train": "training", "validation": "validation", "test": "test"}
    for split in splits:
        manifest = prepared.manifest
        logger.log_dataset(f"{manifest.name}-{split}", manifest.address, manifest.split_sha256[split], contexts[split])


def parameter_table(parameters: ParameterPlan) -> str:
    """CSV with a row per parameter tensor: name, shape (as 384x384), number of elements, whether it trains."""
    rows = [(part.name, "x".join(map(str, part.shape)), part.size, part.trains) for part in parameters.parameters]
    return write_rows(["name", "shape", "size", "trains"], rows)


def log_end(
    logger: RunLogger,
    result: FitResult,
    metrics: Mapping[str, float],
    peaks: Mapping[str, float],
    model_bytes: int,
    began: float,
) -> None:
    """What trained, how it went and what it cost.

    Args:
        metrics: Those of `result`.
        peaks: Of memory, under the names of their metrics, in MiB.
        model_bytes: What the saved model's files hold.
        began: When the stage did, by `time.perf_counter`.
    """
    metrics = {
        **metrics,
        "cost/artifact_mb": model_bytes / MIB,
        **peaks,
        **result.figures,
        "cost/wall_seconds": time.perf_counter() - began,
    }
    logger.set_tags({Tag.FROZEN_PREFIX_CACHE: result.cache})
    if result.best_step != result.steps:  # so that the selected checkpoint's are the run's latest
        metrics |= {f"val/{name}": value for name, value in without_choices(result.best).items()}
    logger.log_outcome(metrics, result.steps)
    logger.update_model()


def check_finished(trained: Run) -> None:
    """Hold that a run was made by training of ours, and finished.

    Raises:
        RunError: It was not.
    """
    has_finished = trained.status == "FINISHED"
    if not was_trained_here(trained) or (has_finished and not carries_our_tags(trained)):
        maker = maker_of(trained)
        made_by = f"the stage {maker}" if maker == trained.stage else maker
        raise RunError(f"--run-id {trained.run_id}: was made by {made_by}, not by train. Give the id of a trained run.")
    if not has_finished:
        detail = f" ({trained.tags['status_detail']})" if "status_detail" in trained.tags else ""
        raise RunError(
            f"--run-id {trained.run_id}: did not finish, its status is {trained.status}{detail}. "
            "Run the same train command again; it continues where it stopped."
        )


def fetch_model(store: RunStore, trained: Run, scratch: Path) -> Path:
    """A run's model below `scratch`, held against its checksums.

    Raises:
        DamagedModelError: It is not what training wrote.
        RunError: The run has none.
    """
    folder = store.download_model(trained.run_id, scratch)
    with naming_damage(store, trained):
        check_model_folder(folder)
    return folder


@contextlib.contextmanager
def naming_damage(store: RunStore, trained: Run) -> Iterator[None]:
    """Within the block a damaged model is said to be that of the run.

    Raises:
        DamagedModelError: It is not what training wrote.
    """
    try:
        yield
    except DamagedModelError as error:
        where = store.artifact_address(trained.run_id, "model")
        raise DamagedModelError(
            f"Run {trained.run_id}: a file of its model is damaged: {error.file} of {where}. Bring it back from a copy, or "
            f"delete the run (`mlflow runs delete --run-id {trained.run_id}`) and train again."
        ) from error


@contextlib.contextmanager
def open_trained(run_id: str | None, model: str | None, tracker: Tracker) -> Iterator[tuple[Path, Run | None]]:
    """The folder that training wrote, and its run where that is given.

    Args:
        run_id: As `--run-id` has it.
        model: As `--model` has it: a folder, or a model of the registry.

    Raises:
        RunError: There is no such run, or it did not finish.
        ModelError: There is no such model.
    """
    if run_id:
        trained = tracker.get(run_id)
        check_finished(trained)
        with tracker.open_model(trained.run_id) as folder, naming_damage(tracker, trained):
            yield folder, trained
        return
    name = model or ""
    if name.startswith(_REGISTRY):
        with tracker.open_registered(name) as folder:
            yield _trained_folder(folder, name), None
    else:
        yield _trained_folder(expand(name), name), None


def _trained_folder(folder: Path, name: str) -> Path:
    found = find_trained_model(folder) if folder.is_dir() else None
    if found is None:
        if not folder.is_dir():
            raise ModelError(f"--model {shorten(name)}: no such folder. Relative paths start at {Path.cwd()}.")
        raise ModelError(
            f"--model {shorten(name)}: holds no model that train wrote. {describe_folder(folder)} Give such a folder, a model "
            "of the registry (models:/NAME@champion), or --run-id."
        )
    return found


def read_config(store: RunStore, trained: Run, cache_dir: str) -> configs.TrainConfig:
    """The configuration that a run was trained with, for another cache folder.

    Raises:
        ConfigError: It is one of another version, with options that there are not.
        RunError: The run has no record of it, or one that cannot be read.
    """
    try:
        with store.open_artifact(trained, "config.json") as file:
            record = parse_json(file.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("it holds no options")
    except ValueError as error:
        raise RunError(
            f"Run {trained.run_id}: its config.json cannot be read ({error}), so how it was trained is not known. Bring it "
            "back from a copy, or train again."
        ) from error
    # Older runs called that option `given`.
    options = {"explicit" if name == "given" else name: value for name, value in record.items()}
    recorded = build(configs.TrainConfig, options, label=flag, kind=f"option in run {trained.run_id}:")
    return dataclasses.replace(recorded, cache_dir=cache_dir)


def check_data(trained: Run, prepared: PreparedData) -> None:
    """Hold that data are what a run was trained on.

    Raises:
        DataError: They are not.
    """
    then, now = trained.tags["data_fingerprint"], prepared.manifest.fingerprint
    if then != now:
        raise DataError(
            f"--run-id {trained.run_id}: was trained on data with fingerprint {then[:12]}, but {prepared.manifest.address} "
            f"gives {now[:12]} now. Put the old data back, or train again."
        )


def check_base(trained: Run, model: str, sha256: str) -> None:
    """Hold that a base model is the one that a run was trained from.

    Raises:
        ModelError: It is not.
    """
    then = trained.tags.get(Tag.BASE_SHA256, "")
    if then != sha256:
        raise ModelError(
            f"--run-id {trained.run_id}: was fine-tuned from a base with SHA-256 {then[:12]}..., but {model} holds "
            f"{sha256[:12]}... now. Put the old base back, or train again."
        )
