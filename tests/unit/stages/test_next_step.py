from pathlib import Path
from typing import Any

import pytest

from pipeline.stages.progress import next_command


class Store:
    """A tracker with one run, which `mlflow run` has made or nobody."""

    def __init__(self, given: str | None = None, of_folder: bool = True, **tags: str) -> None:
        self.given, self.of_folder, self.tags = given, of_folder, tags

    def assigned_run_id(self) -> str | None:
        return self.given

    def is_of_folder(self) -> bool:
        return self.of_folder

    def get(self, run_id: str) -> Any:
        tags = {name.replace("_", "."): value for name, value in self.tags.items()}
        return type("Run", (), {"tags": {f"mlflow.{name}": value for name, value in tags.items()}})


def command(store: Store) -> str:
    return next_command("evaluate", store, run_id="abc")  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)


def test_what_was_typed_here_goes_on_here() -> None:
    assert command(Store()) == "python -m pipeline evaluate --run-id abc"


def test_what_mlflow_run_started_goes_on_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    given = "mlflow run . -e evaluate -P run_id=abc --env-manager local --experiment-id 7"
    assert command(Store("abc")) == given
    project = tmp_path / "a folder"
    project.mkdir()
    monkeypatch.chdir(project)
    assert command(Store("abc", of_folder=False)) == given.replace(" . ", f" '{project}' ")


def test_environment_and_address_are_those_of_the_run() -> None:
    assert command(Store("abc", project_env="conda")) == "mlflow run . -e evaluate -P run_id=abc"
    assert command(Store("abc", project_env="uv")).endswith("--env-manager uv")
    address = "https://example.org/fairtune.git"
    assert command(Store("abc", source_name=address)).startswith(f"mlflow run {address} -e")
    assert command(Store("abc", source_name="file:///here#sub")).startswith("mlflow run . -e")
