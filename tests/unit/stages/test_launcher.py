"""What is said of a number of processes before any is started."""

import pytest

from pipeline.config import TrainConfig
from pipeline.config.identity import identify
from pipeline.errors import ConfigError
from pipeline.stages.processes.launcher import doubt_processes
from pipeline.training.distributed import check_processes
from pipeline.training.setup import find_strategy


@pytest.fixture
def gpus(monkeypatch):
    def gpus(count):
        monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)

    return gpus


def test_every_process_needs_an_example_of_a_batch(gpus):
    gpus(0)
    check_processes(TrainConfig(num_processes=4, batch_size=4))
    with pytest.raises(ConfigError, match=r"--num-processes 5 exceeds --batch-size 4.*--num-processes 4, or larger"):
        check_processes(TrainConfig(num_processes=5, batch_size=4))


def test_every_process_needs_a_gpu_where_there_are_any(gpus):
    gpus(2)
    check_processes(TrainConfig(num_processes=2))
    with pytest.raises(ConfigError, match=r"--num-processes 3 exceeds the 2 GPUs.*at most --num-processes 2"):
        check_processes(TrainConfig(num_processes=3))
    assert doubt_processes(999) == []


def test_it_is_checked_before_anything_is_loaded():
    with pytest.raises(ConfigError, match="exceeds --batch-size"):
        find_strategy(TrainConfig(num_processes=5, batch_size=4, model="no-such-model"))


def test_more_processes_than_cores_are_said_to_be_slow(gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert doubt_processes(2) == []
    assert "--num-processes 3 on 2 CPU cores" in doubt_processes(3)[0]


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_other_numbers_are_refused(value):
    from pipeline.stages.configure import configure

    with pytest.raises(ConfigError, match="--num-processes"):
        configure(TrainConfig, {"num_processes": value})


def test_an_interrupted_training_is_found_by_another_number_of_processes():
    assert identify(TrainConfig(num_processes=2)) == identify(TrainConfig())
