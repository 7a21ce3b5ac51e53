"""What `--precision` means on each device; calls to CUDA are replaced."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.training import precision
from pipeline.training.precision import PRECISIONS, choose_precision, compute_dtype, dtype_name, peak_flops_per_second


@pytest.fixture
def machine(monkeypatch):
    def machine(device, gpu_has_bf16=False, cpu_speedup=1.0):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu_has_bf16)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old GPU")
        monkeypatch.setattr(precision, "bf16_speedup_on_cpu", lambda: cpu_speedup)

    return machine


@pytest.mark.parametrize(
    ("option", "device", "facts", "chosen"),
    [
        ("fp32", "cpu", {"cpu_speedup": 9.0}, "fp32"),
        ("fp32", "cuda", {"gpu_has_bf16": True}, "fp32"),
        ("auto", "cpu", {"cpu_speedup": 1.2}, "fp32"),
        ("auto", "cpu", {"cpu_speedup": 2.0}, "bf16"),
        ("bf16", "cpu", {"cpu_speedup": 0.5}, "bf16"),
        ("auto", "cuda", {"gpu_has_bf16": True}, "bf16"),
        ("auto", "cuda", {"gpu_has_bf16": False}, "fp16"),
        ("bf16", "cuda", {"gpu_has_bf16": True}, "bf16"),
        ("fp16", "cuda", {"gpu_has_bf16": True}, "fp16"),
    ],
)
def test_the_choice(machine, option, device, facts, chosen):
    machine(device, **facts)
    assert choose_precision(option) == chosen


@pytest.mark.parametrize(("option", "device", "message"), [("fp16", "cpu", "no effect on a CPU"), ("bf16", "cuda", "Old GPU")])
def test_what_cannot_work_is_refused(machine, option, device, message):
    machine(device)
    with pytest.raises(ConfigError, match=f"--precision {option}.*{message}"):
        choose_precision(option)


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"),
    [
        ([9, 0.6], [9, 0.2], "bf16"),
        ([0.6], [9, 9, 0.9, 0.2], "bf16"),
        ([0.6], [0.5], "fp32"),
        ([0.2], [0.6], "fp32"),
        ([9, 0.2], [0.6], "fp32"),
    ],
    ids=["faster", "faster once warm", "hardly faster", "slower", "slower than what is warm"],
)
def test_auto_on_a_cpu_takes_what_the_clock_says(monkeypatch, fp32, bf16, chosen):
    """What the layer takes, call by call; the last of the seconds is for all further calls."""
    seconds = {
        dtype: itertools.chain(given, itertools.repeat(given[-1]))
        for dtype, given in ((torch.float32, fp32), (torch.bfloat16, bf16))
    }
    now = 0.0

    def linear(tokens, weight):
        nonlocal now
        now += next(seconds[tokens.dtype])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: now))
    assert choose_precision("auto") == chosen


@pytest.mark.parametrize("option", ["fp32", "bf16", "fp16"])
def test_the_type_that_a_run_logs_says_its_precision(option):
    assert str(compute_dtype(option)) == f"torch.{dtype_name(option)}"
    assert PRECISIONS[dtype_name(option)] == option


def test_a_large_product_is_measured_once():
    peak_flops_per_second.cache_clear()
    first = peak_flops_per_second("fp32")
    assert 1e8 < first < 1e16
    assert peak_flops_per_second("fp32") is first
