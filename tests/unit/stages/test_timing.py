"""How long answers take: which texts, how often, and what of the times is kept."""

import gc

import numpy as np
import pytest

from pipeline.stages.testing import timing
from pipeline.stages.testing.timing import spread_by_length, time_batches, time_single


class Clock:
    """Moves on only while something is answered: by so much a call and so much a text."""

    def __init__(self, monkeypatch, per_call=0.0, per_text=0.0, slow_calls=()):
        self.now, self.calls, self._costs, self._slow = 0.0, [], (per_call, per_text), slow_calls
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def answer(self, inputs):
        assert not gc.isenabled()
        per_call, per_text = self._costs
        self.calls.append(list(inputs))
        self.now += per_call + per_text * len(inputs) + (1.0 if len(self.calls) in self._slow else 0.0)


@pytest.fixture(autouse=True)
def usual(monkeypatch):
    batches = {"BATCHES": (8, 32, 128, 512), "_FEWEST": 32, "_MOST": 4096}
    for name, value in {"TEXTS": 50, "FEW_TEXTS": 10, "ROUNDS": (3, 20), **batches}.items():
        monkeypatch.setattr(timing, name, value)


INPUTS = ["x" * length for length in np.random.default_rng(0).permutation(1000)]


def test_texts_are_spread_over_all_lengths():
    lengths = [len(text) for text in spread_by_length(INPUTS, 50)]
    assert lengths == list(range(10, 1000, 20)), "the middle of each fiftieth"
    assert spread_by_length(["bb", "a"], 50) == ["a", "bb"]
    assert spread_by_length([("b", "bb"), ("a", "")], 1) == [("b", "bb")]


def test_median_range_of_rounds_and_p99_in_milliseconds(monkeypatch):
    warm_up = 10 + 50
    clock = Clock(monkeypatch, per_call=0.004, slow_calls=[1, *(warm_up + 50 + place for place in range(1, 27))])
    found = time_single(clock.answer, INPUTS, 2.0)
    assert all(len(call) == 1 for call in clock.calls)
    assert (found.calls, len(clock.calls)) == (500, 500 + warm_up), "2 s are ten rounds of 0.2 s"
    assert (found.median, found.low) == pytest.approx((4, 4))
    assert found.high == pytest.approx(1004), "more than half of the second round was slow"
    assert found.p99 == pytest.approx(1004)
    rounds = [clock.calls[start : start + 50] for start in range(warm_up, 560, 50)]
    assert all(answered == rounds[0] for answered in rounds), "the same texts, so that rounds differ by the machine alone"
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("per_call", "seconds", "calls"),
    [(1e-5, 2.0, 20 * 50), (0.02, 2.0, 3 * 50), (1.0, 2.0, 3 * 10)],
)
def test_neither_too_many_nor_too_few(monkeypatch, per_call, seconds, calls):
    clock = Clock(monkeypatch, per_call=per_call)
    assert time_single(clock.answer, INPUTS, seconds).calls == calls
    assert clock.now <= max(5 * seconds, 40 * per_call) + 10 * per_call


def test_the_best_batch_size_and_its_throughput(monkeypatch):
    clock = Clock(monkeypatch, per_call=0.01, per_text=0.001)
    found = time_batches(clock.answer, INPUTS, 2.0)
    assert found.batch_size == 128, "of 222 texts, as many as are answered in half a second by eights"
    assert found.texts_per_second == pytest.approx(222 / (2 * 0.01 + 222 * 0.001))
    assert clock.now < 2.5
    longest = max(clock.calls, key=len)
    assert [len(text) for text in longest] == sorted(map(len, longest), reverse=True)


def test_where_larger_batches_are_slower_smaller_ones_are_named(monkeypatch):
    clock = Clock(monkeypatch, per_text=0.001)
    monkeypatch.setattr(clock, "answer", lambda inputs: setattr(clock, "now", clock.now + 0.001 * len(inputs) ** 1.2))
    assert time_batches(clock.answer, INPUTS, 2.0).batch_size == 8
    assert time_batches(clock.answer, INPUTS[:3], 2.0).batch_size == 8, "three texts are one batch of any size"
