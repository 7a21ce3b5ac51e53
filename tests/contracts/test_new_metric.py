"""Adding a metric is adding one file: that which the guide shows is put into a copy of the package, and runs are made there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

import pipeline
from pipeline.evaluation.metric import list_metrics

SCRIPT = """
import json, sys
from click.testing import CliRunner
from pipeline import load_results
from pipeline.__main__ import cli
from pipeline.comparison.plots import draw_all
import pandas as pd

name, *options = json.loads(sys.argv[1])

def call(*arguments, status=0):
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == status, result.output
    return result.output

found = {"file": sys.modules["pipeline"].__file__, "help": call("train", "--help")}
found["refused"] = call("train", "--metric-for-best-model=none", status=2)
choice = f"--metric-for-best-model={name}"
found["progress"] = [call("train", *options, choice, f"--strategy={one}") for one in ("full", "head_only")]
for run_id in load_results()["run_id"]:
    call("evaluate", f"--run-id={run_id}")
found["said"] = call("compare", "--study=all", "--export-dir=export")
frame = load_results()
frame = frame[frame["stage"] == "train"].set_index("strategy")
found["runs"] = frame.drop(columns="start_time").to_dict(orient="index")
figures = draw_all(pd.read_csv("export/results/model_summary.csv").fillna({"group": ""}))
found["overview"] = [axes.get_title() for axes in figures["overview"].axes]
print("FOUND", json.dumps(found))
"""


@pytest.fixture(scope="module")
def block(guide):
    """The name of the file, and what is in it."""
    section, text = guide("Add a metric in one file")
    (name,) = re.findall(r"Saved as `pipeline/evaluation/metrics/(\w+)\.py`", section)
    assert f"--metric-for-best-model {name}`" in section
    return name, text


@pytest.fixture(scope="module")
def folder(block, tiny, empty_store, tmp_path_factory):
    """Where the copy of the package was used; `found.json` is what that came to."""
    name, text = block
    assert name not in [metric.name for metric in list_metrics()], "the guide shows something new"
    folder = tmp_path_factory.mktemp("copy")
    package = Path(pipeline.__file__).parent
    shutil.copytree(package, folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pipeline" / "evaluation" / "metrics" / f"{name}.py").write_text(text)
    shutil.copy(empty_store, folder / "mlflow.db")
    options = {
        "model": tiny.folder(),
        "dataset": tiny.csv(),
        "epochs": 6,
        "dropout": 0,
        "batch_size": 16,
        "learning_rate": "3e-3",
    }
    options |= {"precision": "fp32"}
    arguments = [name, *(f"--{option.replace('_', '-')}={value}" for option, value in options.items())]
    environment = os.environ | {"PYTHONPATH": str(folder), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "found.json").write_text(done.stdout.rpartition("FOUND ")[2])
    return folder


@pytest.fixture(scope="module")
def found(folder):
    found = json.loads((folder / "found.json").read_text())
    assert Path(found["file"]).parent == folder / "pipeline"
    return found


def test_it_is_an_option_by_which_checkpoints_are_chosen(block, found):
    name, _ = block
    for text in (found["help"], found["refused"]):
        assert re.search(rf"accuracy\W+balanced_accuracy\W+{name}\W+nll\W+precision_macro\W", text)
    for run in found["runs"].values():
        assert run["metric_for_best_model"] == name
    assert all(
        re.search(r"validation accuracy [\d.]+, kappa -?[\d.]+, macro F1 [\d.]+, loss", text) for text in found["progress"]
    )


def test_it_is_on_runs_and_in_load_results_with_the_value_of_scikit_learn(block, folder, found):
    name, _ = block
    assert {"full", "head_only"} == set(found["runs"])
    for strategy, run in found["runs"].items():
        said = pd.read_csv(folder / "export" / "results" / f"{strategy}_test_outputs.csv")
        assert run[f"test/{name}"] == pytest.approx(cohen_kappa_score(said["gold"], said["pred"]), abs=1e-12)
        assert -1 <= run[f"val/{name}"] <= 1
    assert found["runs"]["full"][f"val/{name}"] > 0.5, "it was learned"


def test_it_is_in_table_report_files_and_pictures(block, folder, found):
    name, _ = block
    results = folder / "export" / "results"
    table = pd.read_csv(results / "model_summary.csv").set_index("strategy")
    assert table.columns.tolist().index(name) == table.columns.tolist().index("balanced_accuracy") + 1
    for strategy, run in found["runs"].items():
        assert table.loc[strategy, name] == run[f"test/{name}"]
        assert -1 <= table.loc[strategy, f"{name}_low"] <= run[f"test/{name}"] <= table.loc[strategy, f"{name}_high"] <= 1
    assert "kappa" in found["said"]
    assert "kappa" in (results / "results.md").read_text()
    assert "kappa" in (results / "report.html").read_text()
    (pair,) = pd.read_csv(results / "comparisons.csv").to_dict("records")
    difference = table.loc[pair["first"], name] - table.loc[pair["second"], name]
    assert pair[f"{name}_difference"] == pytest.approx(difference)
    assert pair[f"{name}_low"] <= difference <= pair[f"{name}_high"]
    assert any("test Cohen's kappa" in title for title in found["overview"])
