"""A training killed outright goes on where its last checkpoint stands, and ends as if nothing had happened."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
LONG = {"strategy": "partial", "epochs": "6", "batch_size": "8", "logging_steps": "1", "eval_steps": "10", "dropout": "0.2"}
STEPS = 120


def command(options):
    return [
        sys.executable,
        "-m",
        "pipeline",
        "train",
        *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()),
    ]


def environment(store):
    return {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}"}


def result_of(tracker, run_id, scratch):
    names = [name for name in tracker.get(run_id).metrics if name.startswith(("train/", "val/"))]
    histories = {name: tracker.history(run_id, name) for name in names}
    return histories, load_file(tracker.download_model(run_id, scratch / run_id) / "delta.safetensors")


def assert_same(left, right):
    assert left[0] == right[0]
    assert len(left[0]["train/loss"]) == STEPS
    assert left[1].keys() == right[1].keys()
    assert all((left[1][name] == right[1][name]).all() for name in left[1])


@pytest.fixture(scope="module")
def uninterrupted(workspace):
    return workspace.train(**LONG, cache_dir="other-cache")


@pytest.fixture(scope="module")
def killed(workspace):
    """The id of a run whose process was killed after its first checkpoint, and a copy of all it left behind."""
    before = {run.run_id for run in workspace.tracker.search()}
    process = subprocess.Popen(
        command({**workspace.options, **LONG}),
        env=environment(workspace.folder),
        cwd=workspace.folder,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 90
        while not list(workspace.folder.glob(".cache/checkpoints/*/step-*")):
            assert process.poll() is None, "ended before it wrote a checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (run,) = [run for run in workspace.tracker.search() if run.run_id not in before]
    assert run.status == "RUNNING"
    assert 10 <= max(step for step, _ in workspace.tracker.history(run.run_id, "train/loss")) < STEPS
    copy = workspace.folder / "copy"
    copy.mkdir()
    shutil.copytree(workspace.folder / ".cache", copy / ".cache")
    shutil.copy(workspace.folder / "mlflow.db", copy)
    return run.run_id, copy


def test_the_same_command_continues_the_run(workspace, uninterrupted, killed, tmp_path):
    run_id, _ = killed
    done = subprocess.run(
        command({**workspace.options, **LONG}),
        env=environment(workspace.folder),
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert f"Continuing run {run_id} from step" in done.stdout
    tracker = workspace.tracker
    assert tracker.get(run_id).status == "FINISHED"
    assert_same(result_of(tracker, run_id, tmp_path), result_of(tracker, uninterrupted, tmp_path))
    assert not list(workspace.folder.glob(".cache/checkpoints/*/step-*"))


def test_a_new_run_of_mlflow_carries_it_on(workspace, uninterrupted, killed, tmp_path, monkeypatch):
    expected = result_of(workspace.tracker, uninterrupted, tmp_path)
    old, copy = killed
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy / 'mlflow.db'}")
    monkeypatch.chdir(copy)
    client = workspace.client
    new = client.create_run(client.get_run(old).info.experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", new)
    assert workspace.train(**LONG) == new
    tracker = workspace.tracker
    run = tracker.get(new)
    assert (run.status, run.tags["resumes"]) == ("FINISHED", old)
    assert tracker.get(old).status == "KILLED"
    assert new in tracker.get(old).tags["status_detail"]
    assert_same(result_of(tracker, new, tmp_path), expected)


def test_two_processes_do_not_train_the_same(workspace, monkeypatch):
    from filelock import FileLock

    from pipeline.errors import PipelineError
    from pipeline.training.setup import find_inputs

    config = workspace.config(strategy="head_only", seed=77)
    lock = Path(".cache/checkpoints") / f"{find_inputs(config).identity[:16]}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    runs = len(workspace.tracker.search())
    with FileLock(lock), pytest.raises(PipelineError, match="running already"):
        workspace.train(strategy="head_only", seed=77)
    assert len(workspace.tracker.search()) == runs


def test_the_work_of_a_run_that_the_store_does_not_know_goes_on_in_a_new_one(workspace):
    from pipeline.errors import StoreError
    from pipeline.stages import train
    from pipeline.tracking.mlflow_runs import MlflowTracker

    options = {"strategy": "head_only", "seed": "78", "logging_steps": "3"}

    class DiesError(Exception):
        pass

    def die(*arguments):
        raise DiesError

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(DiesError):
        patch.setattr(train, "write_model_folder", die)
        workspace.train(**options)
    old = workspace.tracker.search()[0]
    assert (old.status, old.tags["status_detail"]) == ("FAILED", "DiesError: ")
    left = sorted(Path(".cache/checkpoints").glob("*/step-*"))
    assert left
    names = [name for name in old.metrics if name.startswith(("train/", "val/"))]
    records = {name: workspace.tracker.history(old.run_id, name) for name in names}
    assert len(records["train/loss"]) > 1

    def no_answer(self, run_id):
        raise StoreError("The store does not answer.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowTracker, "get", no_answer)
        with pytest.raises(StoreError, match="does not answer"):
            workspace.train(**options)
    assert sorted(Path(".cache/checkpoints").glob("*/step-*")) == left, "a store that is away costs no work"

    workspace.client.delete_run(old.run_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.training.plan.plan_epoch", lambda *arguments: pytest.fail("trained again"))
        new = workspace.tracker.get(workspace.train(**options))
    assert (new.status, new.tags["resumes"]) == ("FINISHED", old.run_id)
    for name, recorded in records.items():
        assert set(recorded) <= set(workspace.tracker.history(new.run_id, name)), name
