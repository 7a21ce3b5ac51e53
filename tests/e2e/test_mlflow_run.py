"""`mlflow run` as users type it, on the packaged model and data."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tracking.mlflow_runs import MlflowTracker

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
def test_train_works_as_it_stands(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = MlflowTracker(uri)
    tracker.client.create_experiment("e2e", artifact_location=(tmp_path / "artifacts").as_uri())
    parameters = {
        "strategy": "partial",
        "strategy_args": "top_k=1",
        "max_train_samples": "64",
        "max_eval_samples": "32",
        "epochs": "1",
        "learning_rate": "2e-5",
        "cache_dir": str(tmp_path / "cache"),
    }
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [str(binaries / "mlflow"), "run", str(ROOT), "-e", "train", "--env-manager", "local", "--experiment-name", "e2e"]
        + [part for name, value in parameters.items() for part in ("-P", f"{name}={value}")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = tracker.search()
    (hint,) = re.findall(r"Next: (.*)", done.stdout)
    next_step = subprocess.run(
        shlex.split(hint), env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )  # where the user stands: not in the project's folder
    assert next_step.returncode == 0, f"{hint}\n{next_step.stdout[-2000:]}{next_step.stderr[-2000:]}"
    run = tracker.get(run.run_id)
    assert 0 <= run.metrics["test/accuracy"] <= 1
    assert (run.status, run.stage, run.tags["strategy"]) == ("FINISHED", "train", "partial")
    assert run.params["learning_rate"] == "2e-5", "what MLflow logged stays as it was typed"
    assert (run.params["top_k"], run.params["batch_size"]) == ("1", "32")
    assert run.metrics["model/trainable_params"] == 1_775_234
    assert 0 <= run.metrics["val/accuracy"] <= 1
    assert tracker.download_model(run.run_id, tmp_path / "model").is_dir()
