"""Signals that ask a process to end: Ctrl-C, SIGTERM (of schedulers and `kill`), SIGHUP (the terminal was closed).

Each raises `Interrupted` wherever the process is. What must not be left half done holds them back: a training until its step
is whole, so that there can be a checkpoint of it, and the closing of a run. Who asks a second time is not made to wait.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

ASKING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
STATUSES = frozenset(128 + number for number in ASKING)
"""Exit statuses of processes that were asked to end, as shells have them."""


class Interrupted(KeyboardInterrupt):
    """The process was asked to end."""

    def __init__(self, number: int, is_in_order: bool = True) -> None:
        """Keep which signal asked, and whether it waited for what holds signals back, or nothing did."""
        super().__init__(signal.Signals(number).name)
        self.number, self.is_in_order = number, is_in_order


class _Held:
    """Whether signals are held back in this process, and the one that was."""

    blocks = 0
    number: int | None = None


def listen(*numbers: int, ignore_more: bool = False) -> None:
    """Raise `Interrupted` at these signals, by default all; those that are ignored, as under nohup, stay so.

    Args:
        ignore_more: Let the first one count alone: whoever sends more sends them for the same reason.
    """
    _Held.blocks, _Held.number = 0, None

    def ask(number: int, _frame: object) -> None:
        if ignore_more:
            for other in numbers or ASKING:
                signal.signal(other, signal.SIG_IGN)
        if _Held.blocks and _Held.number is None:
            _Held.number = number
        else:
            raise Interrupted(number, is_in_order=not _Held.blocks)

    for number in numbers or ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ask)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold a signal back until the block ends, or `admit` is called in it. Other threads than the first get no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Held.blocks += 1
    try:
        yield
    finally:
        _Held.blocks -= 1
    admit_unless_held()


def admit_unless_held() -> None:
    """Raise `Interrupted` if a signal was held back, and nothing holds it any more: the block that did so failed."""
    if not _Held.blocks:
        admit()


@contextlib.contextmanager
def admitted() -> Iterator[None]:
    """Within `held`: what takes long, and may be stopped anywhere."""
    admit()
    blocks, _Held.blocks = _Held.blocks, 0
    try:
        yield
    finally:
        _Held.blocks = blocks


def is_asked() -> bool:
    """Whether a signal is held back."""
    return _Held.number is not None


def admit() -> None:
    """Raise `Interrupted` if a signal was held back."""
    if (number := _Held.number) is not None:
        _Held.number = None
        raise Interrupted(number)


def status_of(error: KeyboardInterrupt) -> int:
    """With which exit status a process ends that was interrupted so."""
    return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
