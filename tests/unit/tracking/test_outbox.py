"""Metrics are kept while the store is away, and delivered in order and once."""

import logging

import pytest

from pipeline.errors import StoreAwayError
from pipeline.tracking import outbox
from pipeline.tracking.outbox import Outbox


class Store:
    """Takes metrics while it is there; counts how often it was asked."""

    def __init__(self):
        self.is_there, self.asked, self.records = True, 0, []

    def write(self, metrics, step, milliseconds):
        self.asked += 1
        if not self.is_there:
            raise StoreAwayError("gone")
        self.records.append((step, metrics, milliseconds))


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""

    class Clock:
        now = 1000.0

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(outbox.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(outbox.time, "sleep", clock.sleep)
    return clock


def test_what_could_not_be_recorded_is_recorded_later_in_order_and_once(clock, caplog):
    store = Store()
    kept = Outbox(store.write, patience=60)
    kept.log_metrics({"train/loss": 1.0}, 1)
    store.is_there = False
    with caplog.at_level(logging.WARNING):
        for step in range(2, 6):
            kept.log_metrics({"train/loss": 1.0 / step}, step)
            kept.check()
    assert store.asked == 2, "a store that is away is asked every few seconds, not at every step"
    assert caplog.text.count("training goes on") == 1
    store.is_there = True
    clock.sleep(10)
    kept.check()
    assert [(step, metrics["train/loss"]) for step, metrics, _ in store.records] == [(n, 1.0 / n) for n in range(1, 6)]
    assert "is back" in caplog.text
    kept.close()
    assert len(store.records) == 5


def test_patience_has_an_end_and_starts_anew_once_the_store_was_back(clock):
    store = Store()
    kept = Outbox(store.write, patience=60)
    for _ in range(2):
        store.is_there = False
        kept.log_metrics({"train/loss": 1.0}, 1)
        clock.sleep(59)
        kept.check()
        store.is_there = True
        clock.sleep(10)
        kept.check()
    store.is_there = False
    kept.log_metrics({"train/loss": 1.0}, 2)
    clock.sleep(61)
    with pytest.raises(StoreAwayError):
        kept.check()


def test_the_end_waits_for_the_store(clock):
    store = Store()
    kept = Outbox(store.write, patience=60)
    store.is_there = False
    kept.log_metrics({"train/loss": 1.0}, 1)
    before = clock.now
    with pytest.raises(StoreAwayError):
        kept.close()
    assert 60 <= clock.now - before < 70


def test_the_time_of_a_record_is_when_it_was_measured(clock, monkeypatch):
    store = Store()
    kept = Outbox(store.write, patience=60)
    store.is_there = False
    times = iter([5_000_000, 9_000_000])
    monkeypatch.setattr(outbox.time, "time_ns", lambda: next(times))
    kept.log_metrics({"train/loss": 1.0}, 1)
    store.is_there = True
    clock.sleep(10)
    kept.log_metrics({"train/loss": 0.5}, 2)
    assert [(step, milliseconds) for step, _, milliseconds in store.records] == [(1, 5), (2, 9)]


def test_a_server_that_hangs_slows_training_by_a_tenth_at_most(clock):
    store = Store()
    store.is_there = False
    slow = store.write

    def write(*record):
        clock.sleep(10)
        slow(*record)

    kept = Outbox(write, patience=600)
    kept.log_metrics({"train/loss": 1.0}, 1)
    for step in range(2, 200):
        clock.sleep(1)
        kept.log_metrics({"train/loss": 1.0}, step)
        kept.check()
    assert store.asked <= 4
