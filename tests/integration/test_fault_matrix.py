"""A short version of the fault matrix, one case of each fault for two stages; `python -m tests.faults` plays all."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder():
    """One that somebody without rights may pass through; pytest's own folders only their owner may."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_promises_are_kept(stage, folder, tmp_path):
    command = [sys.executable, "-m", "tests.faults", "--stages", stage, "--cases", "1", "--folder", folder]
    done = subprocess.run([*command, "--output", str(tmp_path / "faults.md")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| SIGTERM | " in (tmp_path / "faults.md").read_text()
