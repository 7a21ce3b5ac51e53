"""What a command does without is not imported: it would take as long as the work (docs/explanation/performance.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.training.setup import find_inputs

SCRIPT = """
import runpy, sys
sys.argv = ["pipeline", *sys.argv[1:]]
try:
    runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *sys.modules)
"""
ROOT = Path(__file__).parents[2]
OF_NO_TRAINING = {
    "datasets",
    "flask",
    "matplotlib",
    "mlflow.server",
    "openpyxl",
    "optuna",
    "ray",
    "scipy.stats",
    "sklearn",
    "transformers.trainer",
}
OF_ADAPTERS = {"peft", "transformers.optimization", "transformers.trainer_utils"}
OF_NO_STUDY = {"accelerate", "datasets", "flask", "mlflow.server", "peft", "ray", "sklearn", "torch", "transformers"}
OF_NO_TABLE = {
    "accelerate",
    "datasets",
    "flask",
    "mlflow.server",
    "openpyxl",
    "optuna",
    "peft",
    "ray",
    "scipy.stats",
    "torch",
    "transformers",
}


def loaded_by(stage: str, workspace, **options: str) -> set[str]:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, stage, *flags],
        cwd=workspace.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize(
    ("strategy", "idle"),
    [
        pytest.param("full", OF_NO_TRAINING | OF_ADAPTERS, id="full"),
        pytest.param("lora", OF_NO_TRAINING, id="lora", marks=pytest.mark.slow),
    ],
)
def test_a_training_imports_only_what_it_uses(workspace, strategy: str, idle: set[str]) -> None:
    find_inputs(workspace.config(strategy=strategy))  # prepares the data, which splits them with scikit-learn
    loaded = loaded_by("train", workspace, **workspace.options, strategy=strategy)
    assert {"torch", "mlflow", "transformers"} <= loaded, "the names are those that Python has"
    assert ("peft" in loaded) == (strategy == "lora")
    assert loaded & idle == set()


def test_a_study_with_a_search_is_led_without_torch(workspace) -> None:
    """What needs it is done in processes of their own: the plan, prepared data, trainings, tests and the table."""
    given = {**workspace.options, "precision": "bf16", "strategies": "full", "tune": "true", "trials": "1"}
    del given["learning_rate"]  # which is searched
    loaded = loaded_by("main", workspace, **given)
    assert {"mlflow", "optuna", "pandas"} <= loaded
    assert loaded & OF_NO_STUDY == set()
    [study] = [run for run in workspace.tracker.search() if run.stage == "main"]
    assert study.status == "FINISHED"


def test_a_table_needs_no_encoder(workspace) -> None:
    workspace.evaluate(workspace.train(strategy="full"))
    loaded = loaded_by("compare", workspace, study="all")
    assert {"matplotlib", "mlflow", "pandas"} <= loaded
    assert loaded & OF_NO_TABLE == set()
