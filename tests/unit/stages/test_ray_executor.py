"""What a worker of Ray does with a trial; no cluster is needed for it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.failures import foreseen
from pipeline.stages.executors import ray


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError("no such thing"), "no such thing"),
        (RuntimeError("out of memory"), str(foreseen(MemoryError()))),
    ],
)
def test_every_failure_of_a_trial_is_handed_back_as_an_error_of_ours(monkeypatch, tmp_path, error, message):
    folders = []

    def fail():
        folders.append(Path.cwd())
        raise error

    monkeypatch.chdir(tmp_path.parent)
    task = SimpleNamespace(run=fail)
    assert str(ray.run_with_cpus(torch.get_num_threads(), str(tmp_path), task, False)) == message
    assert folders == [tmp_path]
