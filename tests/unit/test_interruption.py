"""Signals that ask a process to end, and what holds them back."""

import os
import signal
import threading

import pytest

from pipeline import interruption
from pipeline.interruption import Interrupted, admit, admitted, held, is_asked, listen, status_of


@pytest.fixture(autouse=True)
def handlers():
    # In a shell's background SIGINT is ignored.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in interruption.ASKING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ask(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_interrupts_with_the_status_that_shells_have(number, status):
    listen()
    with pytest.raises(KeyboardInterrupt) as caught:
        ask(number)
    assert status_of(caught.value) == status
    assert status in interruption.STATUSES


def test_it_is_held_back_until_the_outermost_block_ends():
    listen()
    done = []

    def work():
        with held():
            with held():
                ask()
                done.append(is_asked())
            done.append("inner block")

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == [True, "inner block"]
    assert caught.value.is_in_order
    assert not is_asked()


def test_a_block_of_another_thread_holds_nothing_back():
    listen()
    begun, end = threading.Event(), threading.Event()

    def block():
        with held():
            begun.set()
            end.wait()

    thread = threading.Thread(target=block)
    thread.start()
    begun.wait()
    with pytest.raises(Interrupted):
        ask()
    end.set()
    thread.join()


def test_an_error_of_the_block_is_what_is_raised():
    listen()

    def work():
        with held():
            ask()
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        work()
    with pytest.raises(Interrupted):
        admit()


def ask_twice(done):
    with held():
        ask()
        done.append("first")
        ask()
        done.append("second")


def test_who_asks_twice_does_not_wait():
    listen()
    done = []
    with pytest.raises(Interrupted) as caught:
        ask_twice(done)
    assert done == ["first"]
    assert not caught.value.is_in_order


def test_who_asks_a_worker_twice_has_asked_once():
    listen(signal.SIGTERM, ignore_more=True)
    done = []
    with pytest.raises(Interrupted) as caught:
        ask_twice(done)
    assert done == ["first", "second"]
    assert caught.value.is_in_order


@pytest.mark.parametrize("asked_before", [False, True])
def test_what_takes_long_may_be_interrupted(asked_before):
    listen()
    done = []

    def work():
        with held():
            if asked_before:
                ask()
            done.append("held")
            with admitted():
                ask()
                done.append("never")

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == ["held"]
    assert caught.value.is_in_order


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    listen()
    ask(signal.SIGHUP)
