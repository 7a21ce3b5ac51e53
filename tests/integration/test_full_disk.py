"""Whichever disk is full, one line says so; nothing half written stays; with room the same command goes on."""

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of a given size at a folder."""
    mounted = []

    def mount(folder: Path, size: str) -> Path:
        folder.mkdir(parents=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_bsize


def fails(result) -> str:
    """What a command says that ends with exit 1 and one line."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    [line] = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert "The disk is full" in line
    assert "server" not in line
    return line


def newest(workspace):
    return workspace.tracker.search()[0]


def test_checkpoints_on_a_full_disk(workspace, small_disk, tmp_path):
    cache = small_disk(tmp_path / "cache", "400k")
    options = {**workspace.options, "strategy": "full", "cache_dir": cache}
    line = fails(workspace.cli("train", **options))
    assert str(cache / "checkpoints") in line
    assert not list(cache.rglob(".writing-*"))
    assert free(cache) > 100_000
    run = newest(workspace)
    assert (run.status, run.tags["status_detail"]) == ("FAILED", line.removeprefix("Error: "))
    grow(cache, "8m")
    assert workspace.cli("train", **options).exit_code == 0
    assert newest(workspace).run_id == run.run_id, "the same run goes on"
    assert newest(workspace).status == "FINISHED"


def test_prepared_data_on_a_full_disk(workspace, small_disk, tmp_path):
    cache = small_disk(tmp_path / "cache", "16k")
    line = fails(workspace.cli("train", **{**workspace.options, "strategy": "full", "cache_dir": cache}))
    assert f"--cache-dir {cache}" in line
    assert not list(cache.rglob(".writing-*"))


@pytest.fixture
def elsewhere(workspace, tmp_path, monkeypatch):
    """A folder with a store of its own, whose artifacts lie in `mlruns`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return tmp_path


def test_artifacts_on_a_full_disk(workspace, elsewhere, small_disk):
    artifacts = small_disk(elsewhere / "mlruns", "600k")
    options = {**workspace.options, "strategy": "full"}
    line = fails(workspace.cli("train", **options))
    assert str(artifacts) in line
    assert free(artifacts) > 500_000, "the model of which half was written is gone"
    assert newest(workspace).status == "FAILED"
    grow(artifacts, "8m")
    assert workspace.cli("train", **options).exit_code == 0
    assert workspace.cli("evaluate", run_id=newest(workspace).run_id).exit_code == 0


@pytest.mark.parametrize("size", ["400k", "936k"])
def test_the_store_on_a_full_disk(workspace, elsewhere, small_disk, monkeypatch, size):
    """There is no room to make it, or none to write to it."""
    disk = small_disk(elsewhere / "disk", size)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{disk / 'mlflow.db'}")
    options = {**workspace.options, "strategy": "head_only", "logging_steps": 1, "epochs": 20}
    line = fails(workspace.cli("train", **options))
    assert "The tracking store" in line
    assert {path.name for path in disk.iterdir()} <= {"mlflow.db"}
    grow(disk, "8m")
    assert workspace.cli("train", **options).exit_code == 0
    assert newest(workspace).status == "FINISHED"


def test_an_export_to_a_full_disk(workspace, elsewhere, small_disk):
    run_id = workspace.train(strategy="full", epochs=1)
    workspace.evaluate(run_id)
    target = small_disk(elsewhere / "exported", "100k")
    line = fails(workspace.cli("compare", run_ids=run_id, export_dir=target))
    assert str(target) in line
    assert list(target.iterdir()) == []
