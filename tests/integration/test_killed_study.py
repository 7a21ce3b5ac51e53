"""A study killed outright goes on by the same command: nothing that was finished is made again, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.config import CompareConfig
from pipeline.stages import compare

pytestmark = pytest.mark.usefixtures("blank_pictures")

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "pipeline", "main", "--recipe", "killed.yaml"]


@pytest.fixture(scope="module")
def start(workspace):
    """Starts the study in a process of its own; its output goes to a file."""
    slow = {"epochs": 5, "batch_size": 8, "eval_steps": 10, "learning_rate": 1e-3}
    recipe = {
        "options": {**workspace.options, "epochs": 1, "seeds": 2},
        "strategies": {"head_only": {"learning_rate": 1e-2}, "partial": {**slow, "strategy_args": {"top_k": 2}}},
    }
    (workspace.folder / "killed.yaml").write_text(yaml.safe_dump(recipe))
    uri = f"sqlite:///{workspace.folder / 'mlflow.db'}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri}

    def start(**more):
        output = (workspace.folder / "output.txt").open("w")
        return subprocess.Popen(
            COMMAND, env={**environment, **more}, cwd=workspace.folder, stdout=output, stderr=subprocess.STDOUT
        )

    return start


def trainings(tracker):
    return {(run.tags.get("strategy", run.name), run.params.get("seed")): run for run in tracker.search({"stage": "train"})}


@pytest.fixture(scope="module")
def killed(workspace, start):
    """What was there when the study was killed in the middle of its third training."""
    process = start()
    deadline = time.monotonic() + 900
    try:
        while True:
            assert process.poll() is None, (workspace.folder / "output.txt").read_text()
            assert time.monotonic() < deadline
            found = trainings(workspace.tracker)
            if ("partial", "42") in found and list(workspace.folder.glob(".cache/checkpoints/*/step-*")):
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = trainings(workspace.tracker)
    assert found["partial", "42"].status != "FINISHED"
    assert {key for key, run in found.items() if run.status == "FINISHED"} == {("head_only", "42"), ("head_only", "43")}
    (parent,) = workspace.tracker.search({"stage": "main"})
    assert parent.status == "RUNNING"
    return parent, found


def test_a_dry_run_says_what_will_be_continued(workspace, killed):
    result = workspace.cli("main", recipe="killed.yaml", dry_run="true")
    assert result.exit_code == 0
    assert result.output.count("reused: run") == 2
    assert result.output.count("continued from step") == 1
    assert "Total: 2 to train, 2 reused" in result.output
    assert workspace.tracker.get(killed[0].run_id).status == "RUNNING", "nothing is written"


def test_compare_names_what_was_not_begun(killed, capsys):
    compare.run(CompareConfig(study=killed[0].run_id))
    assert "Planned and missing: partial seed 43." in capsys.readouterr().out


def test_the_same_command_goes_on(workspace, start, killed):
    parent, before = killed
    process = start()
    assert process.wait(timeout=900) == 0, (workspace.folder / "output.txt").read_text()
    output = (workspace.folder / "output.txt").read_text()
    assert f"Continuing study {parent.run_id}" in output
    assert f"Continuing run {before['partial', '42'].run_id} from step" in output
    tracker = workspace.tracker
    runs = tracker.search({"stage": "train"})
    assert len(runs) == 4, "no training was made twice"
    assert {run.status for run in runs} == {"FINISHED"}
    after = trainings(tracker)
    for key in (("head_only", "42"), ("head_only", "43"), ("partial", "42")):
        assert after[key].run_id == before[key].run_id
    (study,) = tracker.search({"stage": "main"})
    assert (study.run_id, study.status) == (parent.run_id, "FINISHED")
    assert not [run for run in tracker.search() if run.status == "RUNNING"]
    table = compare.run(CompareConfig(study=study.run_id)).table
    assert dict(zip(table["strategy"], table["seeds"], strict=True)) == {"head_only": 2, "partial": 2}
    assert not list(workspace.folder.glob(".cache/studies/*.json"))
