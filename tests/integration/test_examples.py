"""The examples run as they stand, on a store with trained and tested runs and a champion."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store(workspace):
    """Two strategies, one of them twice; the test of one; a champion."""
    import mlflow

    runs = [workspace.train(strategy="head_only", epochs=1, seed=seed) for seed in (0, 1)]
    runs.append(workspace.train(strategy="bitfit", epochs=1))
    for run_id in runs[1:]:
        workspace.evaluate(run_id)
    version = mlflow.register_model(f"runs:/{runs[-1]}/model", "fairtune-films")
    mlflow.MlflowClient().set_registered_model_alias("fairtune-films", "champion", version.version)
    return workspace


@pytest.fixture
def in_store(store, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])  # a loaded model puts its own copy of the code first
    return store.folder


def test_the_script_prints_rows_draws_and_asks(in_store, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "front.png"
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr(sys, "argv", ["explore_runs.py", "--picture", str(picture), "a fine film"])
    runpy.run_path(str(ROOT / "examples" / "explore_runs.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("head_only")] == ["2"], "seeds"
    assert "bitfit" in printed
    assert "score_" in printed
    assert picture.stat().st_size > 5000


def test_the_front_leaves_out_what_another_row_beats_at_both(monkeypatch):
    import pandas as pd

    functions = runpy.run_path(str(ROOT / "examples" / "explore_runs.py"))
    rows = pd.DataFrame({"val/f1_macro": [0.5, 0.8, 0.7, 0.9], "cost/train_seconds": [1, 2, 3, 4]}, index=["a", "b", "c", "d"])
    assert list(functions["find_front"](rows).index) == ["a", "b", "d"]


def test_the_notebook_runs_from_its_first_cell_to_its_last(in_store, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    notebook = nbformat.read(tmp_path / "examples" / "explore_runs.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "committed without outputs"
    notebook.cells[1].source = notebook.cells[1].source.replace('".."', repr(str(in_store)))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    where = {"metadata": {"path": tmp_path / "examples"}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert "score_" in str(outputs[-1])
