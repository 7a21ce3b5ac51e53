"""What training costs."""

import contextlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.strategies.base import create_strategy
from pipeline.training import meters
from pipeline.training.meters import MIB, FlopCounter, MemoryMeter, Stopwatch


def test_a_stopwatch_adds_up_what_runs_inside_whatever_comes_of_it(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(meters, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    watch = Stopwatch(5.0)
    for seconds, outcome in ((2.0, contextlib.nullcontext()), (3.0, pytest.raises(KeyError))):
        now[0] += 1.0  # between what is measured
        with outcome, watch.running():
            now[0] += seconds
            if seconds == 3.0:
                raise KeyError
    assert watch.seconds == 10.0


MEASURE = """
from pipeline.training.meters import MIB, MemoryMeter

meter = MemoryMeter()
block = bytearray(64 * MIB)
block[::4096] = b"x" * len(block[::4096])
peaks = meter.peaks()
assert peaks.keys() == {"cost/peak_rss_mb"}, peaks
assert peaks["cost/peak_rss_mb"] > 60, peaks
"""


def test_resident_memory_is_measured_and_cuda_is_absent():
    """In a process of its own: the peak of this one may be from a test before."""
    subprocess.run([sys.executable, "-c", MEASURE], check=True)


def test_cuda_memory_is_there_with_cuda(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * MIB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 4 * MIB)
    peaks = MemoryMeter().peaks()
    assert (peaks["cost/peak_cuda_mb"], peaks["cost/peak_cuda_reserved_mb"], calls) == (3, 4, ["reset"])


@pytest.mark.parametrize(
    ("name", "arguments", "tolerance"),
    [
        ("full", {}, 0.04),
        ("partial", {"top_k": 1}, 0.06),  # the formula counts a gradient into the frozen layers below, too
        ("partial", {"top_k": 4}, 0.04),
        ("head_only", {}, 0.04),
        ("bitfit", {}, 0.04),
    ],
)
def test_operations_are_those_that_torch_counts(tiny, name, arguments, tolerance):
    built = tiny.build(create_strategy(name, arguments), tiny.folder(), tiny.config(dropout=0.0))
    built.parameters.enter_phase(built.model, 0)
    built.model.train()
    built.model.set_attn_implementation("eager")
    ids = torch.randint(5, 200, (8, 32))
    with FlopCounterMode(display=False) as counter:
        built.model(input_ids=ids, labels=torch.zeros(8, dtype=torch.long)).loss.backward()
    ours = FlopCounter.of(built.context.encoder, built.parameters, 0).step(8, 32)
    assert ours == pytest.approx(counter.get_total_flops(), rel=tolerance)


def test_less_that_trains_costs_less(tiny):
    def cost(name, **arguments):
        built = tiny.build(create_strategy(name, arguments), tiny.folder(), tiny.config())
        return FlopCounter.of(built.context.encoder, built.parameters, 0).step(8, 32)

    assert cost("head_only") < cost("partial", top_k=1) < cost("partial", top_k=2) < cost("full")
