"""What a training run records: its settings and origin when it begins, its parameters, and what it cost when it has ended."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from collections.abc import Mapping

from pipeline.config import TrainConfig
from pipeline.data.overlap import overlap_metrics
from pipeline.data.text_pairs import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.identity import identify, settings_hash
from pipeline.stages.inputs import TrainingInputs
from pipeline.strategies.freezing.parameter_plan import ParameterPlan
from pipeline.tracking.provenance import environment, git_commit, hardware
from pipeline.tracking.runs import RunLogger
from pipeline.training.meters import MIB
from pipeline.training.precision import Precision, dtype_name, peak_flops_per_second
from pipeline.training.progress import FitResult


def log_start(inputs: TrainingInputs, logger: RunLogger, precision: Precision) -> None:
    """What was asked for, by which code on which data and machine; enough to train it again."""
    config = inputs.config
    identity = identify(config)
    options = {name: value for name, value in identity.items() if name != "strategy_args"}
    chosen = f" Chosen by auto: {config.strategy_reason}." if config.strategy_reason else ""
    compute = {"compute_dtype": dtype_name(precision)}
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
            "settings_hash": settings_hash(config),
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


def log_data(inputs: TrainingInputs, logger: RunLogger, train: TokenTable | TextPairs) -> None:
    """Which parts go in, how many examples are trained on, what is lost of them, and how far test overlaps them.

    `compare` works from the tracking store alone, so what it must warn of stands on the run.
    """
    manifest = inputs.prepared.manifest
    inputs.log_datasets(logger, "train", "validation")
    logger.log_metrics(overlap_metrics({"train/test": manifest.overlap["train/test"]}))
    logger.log_metrics({"data/train_examples": len(train), "data/rows_train": manifest.rows["train"]})
    if train.losses is not None:
        logger.log_metrics(train.losses.metrics())


def parameter_table(parameters: ParameterPlan) -> str:
    """CSV with a row per parameter tensor: name, shape (as 384x384), number of elements, whether it trains."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "shape", "size", "trains"])
    for parameter in parameters.parameters:
        writer.writerow([parameter.name, "x".join(map(str, parameter.shape)), parameter.size, parameter.trains])
    return text.getvalue()


def log_end(
    logger: RunLogger,
    precision: Precision,
    parameters: ParameterPlan,
    result: FitResult,
    peaks: Mapping[str, float],
    model_bytes: int,
    config: TrainConfig,
    began: float,
) -> None:
    """What trained, how it went and what it cost.

    Args:
        peaks: Of memory, under the names of their metrics, in MiB.
        model_bytes: What the saved model's files hold.
        began: When the stage did, by `time.perf_counter`.
    """
    seconds = result.train_seconds
    metrics: dict[str, float] = {
        "model/trainable_params": parameters.trainable_count,
        "model/total_params": parameters.total_count,
        "model/trainable_percent": parameters.trainable_percent,
        "train/loss_mean": result.train_loss_mean,
        "train/steps_per_epoch": result.total_steps / config.epochs,
        "cost/train_seconds": seconds,
        "cost/cache_seconds": result.cache_seconds,
        "cost/examples": result.examples,
        "cost/examples_per_second": result.examples / seconds,
        "cost/tokens_per_second": result.tokens / seconds,
        "cost/total_flops": result.flops,
        "cost/model_flops_utilisation": result.flops / seconds / (peak_flops_per_second(precision) * config.num_processes),
        "cost/artifact_mb": model_bytes / MIB,
        **peaks,
        **result.figures,
        "cost/wall_seconds": time.perf_counter() - began,
    }
    logger.set_tags({"frozen_prefix_cache": result.cache})
    if result.best_step != result.steps:  # so that the selected checkpoint's are the run's latest
        metrics |= {f"val/{name}": value for name, value in result.best.items()}
    logger.log_metrics(metrics, result.steps)
