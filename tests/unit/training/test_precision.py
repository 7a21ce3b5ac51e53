"""What `--precision` means on each device; calls to CUDA are replaced."""

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.training import precision
from pipeline.training.precision import bf16_speedup_on_cpu, choose_precision, peak_flops_per_second


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


def test_the_measurement_is_how_many_times_faster_bf16_is(monkeypatch):
    monkeypatch.setattr(precision, "_seconds", {torch.float32: 0.6, torch.bfloat16: 0.2}.__getitem__)
    assert bf16_speedup_on_cpu() == pytest.approx(3)


def test_a_type_takes_time():
    assert 0 < precision._seconds(torch.float32) < 10


def test_a_large_product_is_measured_once():
    peak_flops_per_second.cache_clear()
    first = peak_flops_per_second("fp32")
    assert 1e8 < first < 1e16
    assert peak_flops_per_second("fp32") is first
