"""The clock is set back."""

from __future__ import annotations

import signal
import time

from ..fault import Case, Fault
from .signals import Killed

_DAY = 86_400


def _set_back() -> None:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - _DAY
    time.time_ns = lambda: now_ns() - _DAY * 10**9


class ClockSetBack(Fault):
    """A day, while the command runs."""

    name = "clock set back meanwhile"
    exits = frozenset()

    def act(self, case: Case) -> None:
        _set_back()


class ClockSetBackAfterKill(Killed):
    """A day, after it was killed and before it is given again, as by a machine whose battery is flat."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "clock set back after SIGKILL"
        self.exits = frozenset({-signal.SIGKILL})

    def before_again(self, case: Case) -> None:
        _set_back()


FAULTS = (ClockSetBack(), ClockSetBackAfterKill())
