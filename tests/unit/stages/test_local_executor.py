"""What a trial's process gets of the machine; GPUs are made up."""

import os
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import TuneConfig
from pipeline.errors import ConfigError
from pipeline.stages.executor import check_executor, list_executors
from pipeline.stages.executors import local


@pytest.fixture
def shares(monkeypatch):
    """(GPU, threads) that the trials of some slots get on a machine with eight cores."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)

    def shares(slots, count, visible=None, processes=1):
        task = SimpleNamespace(num_processes=processes, label="trial 1", run=lambda: "a run")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        given = []
        for slot in range(slots):
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            if visible is not None:
                monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
            threads = []
            monkeypatch.setattr(torch, "set_num_threads", threads.append)
            monkeypatch.delenv("FAIRTUNE_LINE_LABEL", raising=False)
            assert local.run_with_share(slot, slots, task) == "a run"
            assert os.environ.get("FAIRTUNE_LINE_LABEL") == ("trial 1" if slots > 1 else None)
            given.append((os.environ.get("CUDA_VISIBLE_DEVICES"), *threads))
        return given

    return shares


def test_cores_are_shared_out_and_one_worker_keeps_them_all(shares):
    assert shares(1, 0) == [(None,)]
    assert shares(2, 0) == [(None, 4)] * 2
    assert shares(9, 0) == [(None, 1)] * 9


def test_every_slot_gets_a_gpu_and_only_such_as_were_given_to_us(shares):
    assert shares(3, 2) == [("0", 2), ("1", 2), ("0", 2)]
    assert shares(2, 4, visible="2,3") == [("2", 4), ("3", 4)]
    assert shares(1, 4, visible="") == [("",)]


def test_a_trial_of_several_processes_gets_a_gpu_for_each(shares):
    assert shares(2, 4, processes=2) == [("0,1", 4), ("2,3", 4)]
    assert shares(1, 4, visible="3,5", processes=2) == [("3,5",)]
    assert shares(2, 0, processes=2) == [(None, 4)] * 2


@pytest.mark.parametrize("executor", ["local", "auto"])
def test_more_processes_at_once_than_gpus_are_refused(monkeypatch, executor):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    config = TuneConfig(executor=executor, workers=2, num_processes=2)
    with pytest.raises(ConfigError, match=r"--workers 2 times --num-processes 2 needs 4 GPUs, and there are 3\. .*--workers 1"):
        check_executor(config)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    check_executor(config)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_executor(config)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    check_executor(TuneConfig(executor=executor, workers=3))


def test_executors_are_found_by_their_files():
    assert "local" in list_executors()
    assert not {"base", "executor", "registry"} & set(list_executors())
