"""Workspaces: a folder of its own with an SQLite tracking store, entered for as long as a module's tests run."""

from __future__ import annotations

import gc
import importlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.config import MainConfig, TrainConfig
from pipeline.stages.configure import configure
from pipeline.tracking.database.store_file import unsynchronised


@dataclass(frozen=True)
class Workspace:
    """The current folder, its tracking store, and options that make a training take a second."""

    folder: Path
    options: dict[str, str]

    @property
    def tracker(self) -> Any:
        from pipeline.tracking import open_tracker

        return open_tracker()

    @property
    def client(self) -> Any:
        return self.tracker.client

    def config(self, cls: type = TrainConfig, **options: object) -> Any:
        usual = self.options if cls is TrainConfig else {"latency_seconds": "0"} if cls is MainConfig else {}
        return configure(cls, {**usual, **{name: str(value) for name, value in options.items()}})

    def options_of_data(self) -> dict[str, str]:
        return {name: self.options[name] for name in ("model", "dataset")}

    def cli(self, stage: str, **options: object) -> Result:
        """The command line in this process."""
        from pipeline.__main__ import cli

        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return CliRunner().invoke(cli, [stage, *arguments])

    def train(self, **options: object) -> str:
        """Train; returns the run's id."""
        from pipeline.stages import train

        return train.run(self.config(**options)).run_id

    def evaluate(self, run_id: str, **options: object) -> Any:
        from pipeline.config import EvaluateConfig
        from pipeline.stages import evaluate

        return evaluate.run(EvaluateConfig(run_id=run_id, **options))


class Called:
    """What a function came to that was called in this process; has the methods of `WorkerProcess`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        self.connection, sender = Pipe(duplex=False)
        self._error: Exception | None = None
        try:
            self._result = function(*arguments, **keywords)
        except Exception as error:
            self._error = error
        sender.send("ended")

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class InThisProcess:
    """In place of `WorkerProcesses`: everything is done here, at once."""

    def prepare_runs(self) -> None:
        pass

    def start(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Called:
        return Called(function, *arguments, **keywords)

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        return self.start(function, *arguments, **keywords).result()

    delegate = call


@pytest.fixture(scope="package")
def in_this_process() -> type[InThisProcess]:
    return InThisProcess


@pytest.fixture(scope="package", autouse=True)
def imported() -> None:
    """Import what every stage imports, and leave it out of garbage collection."""
    for name in ("train", "evaluate", "compare"):
        importlib.import_module(f"pipeline.stages.{name}")
    importlib.import_module("peft")
    importlib.import_module("mlflow.pyfunc")
    importlib.import_module("transformers.models.auto.modeling_auto")
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def workspace(tiny, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("workspace")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri).create_experiment("fairtune", artifact_location=(folder / "artifacts").as_uri())
    options = {
        "model": str(tiny.folder()),
        "dataset": str(tiny.csv()),
        "epochs": "2",
        "batch_size": "16",
        "learning_rate": "3e-3",
        "precision": "fp32",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # for processes started from this folder
        with unsynchronised():
            yield Workspace(folder, options)
