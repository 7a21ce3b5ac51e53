"""A tracker of MLflow on SQLite, and the record of a model for it."""

import json
import shutil
from dataclasses import asdict

import pytest

from pipeline.tracking.mlflow_runs import MlflowTracker
from pipeline.training.saved_model import ModelRecord


@pytest.fixture(scope="module")
def mlflow_tracker(empty_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracking")
    shutil.copy(empty_store, folder / "mlflow.db")
    tracker = MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}")
    tracker.client.create_experiment("fairtune", artifact_location=(folder / "artifacts").as_uri())
    return tracker


@pytest.fixture
def model_record() -> str:
    """`model.json` of a model folder."""
    return json.dumps(
        asdict(
            ModelRecord(
                base="base",
                base_revision=None,
                base_sha256="0",
                strategy="lora",
                strategy_args={},
                classes=["bad", "good"],
                max_length=8,
                dropout=0.0,
                epochs=1,
                total_steps=1,
            )
        )
    )
