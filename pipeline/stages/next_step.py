"""The command that goes on from what a stage has done, as it can be typed where the user is."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from pipeline.options import flag
from pipeline.tracking.runs import Tracker

_SOURCE, _ENVIRONMENT = "mlflow.source.name", "mlflow.project.env"
_DEFAULT_EXPERIMENT = "0"


def next_command(stage: str, tracker: Tracker, **options: str) -> str:
    """`python -m pipeline evaluate --run-id ...`, or through `mlflow run` where that has started this stage.

    What `mlflow run` starts works in the project's folder and in an environment of MLflow's choice, while the user may be in
    another folder, which has the store, and have nothing of the project installed.
    """
    given = tracker.given_run_id()
    if given is None:
        return shlex.join(["python", "-m", "pipeline", stage, *_typed(options)])
    tags = tracker.get(given).tags
    words = ["mlflow", "run", _project(tags.get(_SOURCE, ""), tracker), "-e", stage]
    for name, value in options.items():
        words += ["-P", f"{name}={value}"]
    environment = tags.get(_ENVIRONMENT, "local")  # MLflow notes the environments that it makes
    if environment != "conda":  # which it takes by itself
        words += ["--env-manager", environment]
    experiment = os.environ.get("MLFLOW_EXPERIMENT_ID", _DEFAULT_EXPERIMENT)
    if experiment != _DEFAULT_EXPERIMENT:
        words += ["--experiment-id", experiment]
    return shlex.join(words)


def _typed(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (flag(name), value)]


def _project(source: str, tracker: Tracker) -> str:
    """How the project is named: by its folder, or where MLflow fetched it into a temporary one, by its address."""
    if "://" in source and not source.startswith("file:"):
        return source
    return "." if tracker.is_of_folder() else str(Path.cwd())
