"""A study of several trainings at once that is told to end leaves no process and no open run, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from process_tree import are_gone, descendants

from pipeline.config import CompareConfig
from pipeline.stages import compare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
    pytest.mark.usefixtures("blank_pictures"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(workspace):
    """Starts the study in a process of its own; its output goes to a file."""
    slow = {"epochs": 6, "batch_size": 8, "eval_steps": 10, "learning_rate": 1e-3}
    content = {"options": {**workspace.options, **slow, "seeds": 2}, "strategies": {"bitfit": {}, "full": {}}}
    Path("interrupted.yaml").write_text(yaml.safe_dump(content))
    uri = f"sqlite:///{workspace.folder / 'mlflow.db'}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri}
    command = [sys.executable, "-m", "pipeline", "main", "--recipe", "interrupted.yaml", "--workers", "2"]
    processes = []

    def start():
        with Path("output.txt").open("w") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=workspace.folder,
                stdout=output,
                stderr=output,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_for_two(workspace, process):
    """Until two trainings are at work, with two checkpoints or more; the processes below the study's."""
    deadline = time.monotonic() + 600
    while process.poll() is None:
        assert time.monotonic() < deadline
        running = [run for run in workspace.tracker.search({"stage": "train"}) if run.status == "RUNNING"]
        if len(running) == 2 and len(list(Path(".cache/checkpoints").glob("*/step-*"))) > 1:
            return descendants(process.pid)
        time.sleep(0.05)
    raise AssertionError(Path("output.txt").read_text())


def test_no_process_and_no_open_run_is_left_and_the_same_command_ends_the_study(workspace, start):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = start()
        below = wait_for_two(workspace, process)
        process.send_signal(number)
        status = process.wait(timeout=120)
        assert are_gone(below), "no orphans"
        if number == signal.SIGKILL:
            continue
        said = Path("output.txt").read_text()
        assert (status, "Traceback" in said) == (128 + number, False), said
        assert not [run for run in workspace.tracker.search() if run.status == "RUNNING"], said
        assert [run.status for run in workspace.tracker.search({"stage": "main"})] == ["KILLED"]
    process = start()
    assert process.wait(timeout=900) == 0, Path("output.txt").read_text()
    said = Path("output.txt").read_text()
    assert "[bitfit (seed 42)] Continuing run" in said or "[full (seed 42)] Continuing run" in said
    [study] = workspace.tracker.search({"stage": "main"})
    trained = [run for run in workspace.tracker.search({"stage": "train"}) if run.status == "FINISHED"]
    assert len(trained) == 4, "no training was made twice"
    assert {run.parent_id for run in trained} == {study.run_id}
    table = compare.run(CompareConfig(study=study.run_id)).table
    assert dict(zip(table["strategy"], table["seeds"], strict=True)) == {"bitfit": 2, "full": 2}
