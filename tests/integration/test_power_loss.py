"""What a loss of power must not take: the order of writing, synchronising, renaming and deleting is recorded in a training."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.tracking import mlflow_logger


@pytest.fixture(scope="module")
def calls(workspace):
    """(what, path) of a training, in order: `sync`, `rename`, `delete` and `finished`."""
    recorded = []
    fsync, replace, rmtree = os.fsync, Path.replace, shutil.rmtree
    finish = mlflow_logger.MlflowLogger.finish

    def note(what, path):
        recorded.append((what, str(path)))

    def record_sync(descriptor):
        note("sync", Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def record_rename(self, target):
        note("rename", target)
        return replace(self, target)

    def record_delete(path, *arguments, **options):
        note("delete", path)
        rmtree(path, *arguments, **options)

    def record_finish(self, status, detail=""):
        finish(self, status, detail)
        note("finished", status)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", record_sync)
        patch.setattr(Path, "replace", record_rename)
        patch.setattr(shutil, "rmtree", record_delete)
        patch.setattr(mlflow_logger.MlflowLogger, "finish", record_finish)
        workspace.train(strategy="head_only", eval_steps=5)
    return recorded


def place(calls, what, *ends):
    return [number for number, (kind, path) in enumerate(calls) if kind == what and path.endswith(ends)]


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name_and_before_an_older_one_goes(calls):
    renamed = [number for number, (what, path) in enumerate(calls) if what == "rename" and "/step-" in path]
    assert len(renamed) > 2
    for number in renamed:
        folder = Path(calls[number][1])
        scratch = folder.with_name(f".writing-{folder.name.removeprefix('step-')}")
        before = {path for what, path in calls[:number] if what == "sync"}
        files = ("trained.safetensors", "optimizer.pt", "progress.json", "checksums.json", "")
        assert {str(Path.cwd() / scratch / name).rstrip("/") for name in files} <= before
        assert calls[number + 1] == ("sync", str(Path.cwd() / folder.parent)), "its name is on the disk before anything else"
    deleted = [number for number, (what, path) in enumerate(calls) if what == "delete" and "/step-" in path]
    assert any(number > renamed[1] for number in deleted)


def test_the_note_of_a_training_is_on_the_disk_before_it_gets_its_name(calls):
    (renamed,) = place(calls, "rename", "run.json")
    assert calls[renamed - 1][0] == calls[renamed + 1][0] == "sync"
    assert calls[renamed - 1][1].endswith("-run.json")
    assert calls[renamed + 1][1] == str(Path.cwd() / Path(calls[renamed][1]).parent)


def test_a_model_is_on_the_disk_before_its_run_is_finished_and_only_then_its_checkpoints_go(calls):
    (finished,) = place(calls, "finished", "FINISHED")
    synced = place(calls, "sync", "fine_tuned/delta.safetensors")  # on its run, and on MLflow's page of models
    last = max(number for number, (what, path) in enumerate(calls) if what == "delete" and "/checkpoints/" in path)
    assert len(synced) == 2
    assert max(synced) < finished < last
