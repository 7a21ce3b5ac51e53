"""What a trained run says of itself, read back and held against what is there now."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

from pipeline import config as configs
from pipeline.comparison.rows import was_trained_here
from pipeline.data.prepared import PreparedData
from pipeline.errors import DamagedModelError, DataError, ModelError, RunError
from pipeline.fields import build
from pipeline.options import flag
from pipeline.tracking.runs import Run, RunStore
from pipeline.training.model_folder import check_model_folder


def check_finished(trained: Run) -> None:
    """Hold that a run was made by training, and finished.

    Raises:
        RunError: It was not.
    """
    if not was_trained_here(trained):
        made_by = f"made by the stage {trained.stage}" if trained.stage else "not made by this project"
        raise RunError(f"--run-id {trained.run_id}: was {made_by}, not by train. Give the id of a trained run.")
    if trained.status != "FINISHED":
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
    try:
        check_model_folder(folder)
    except DamagedModelError as error:
        where = store.artifact_address(trained.run_id, "model")
        raise DamagedModelError(
            f"Run {trained.run_id}: a file of its model is damaged: {error.file} of {where}. Bring it back from a copy, or "
            f"delete the run (`mlflow runs delete --run-id {trained.run_id}`) and train again."
        ) from error
    return folder


def read_config(store: RunStore, trained: Run, cache_dir: str) -> configs.TrainConfig:
    """The configuration that a run was trained with, for another cache folder.

    Raises:
        RunError: The run has no record of it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        text = store.download(trained.run_id, "config.json", Path(scratch)).read_text(encoding="utf-8")
    recorded = build(configs.TrainConfig, json.loads(text), label=flag, kind=f"option in run {trained.run_id}:")
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
    then = trained.tags["base_sha256"]
    if then != sha256:
        raise ModelError(
            f"--run-id {trained.run_id}: was fine-tuned from a base with SHA-256 {then[:12]}..., but {model} holds "
            f"{sha256[:12]}... now. Put the old base back, or train again."
        )
