"""Signals: what kills, and what asks to end."""

from __future__ import annotations

import os
import signal

from .. import process
from ..fault import Case, Fault, kill, sleep_until


class Asked(Fault):
    """A signal that asks to end: the runs are KILLED, and the exit status says which signal it was, as shells have it."""

    ends_as = frozenset({"KILLED"})
    says = "^Error: Interrupted"
    in_time = True

    def __init__(self, name: str, number: int, reaches_all: bool) -> None:
        self.name, self._number, self._reaches_all = name, number, reaches_all
        self.exits = frozenset({128 + number})

    def before(self, case: Case) -> None:
        self._command = os.getpid()
        super().before(case)

    def act(self, case: Case) -> None:
        self._send(self._command)

    def meanwhile(self, case: Case, command: process.Command) -> None:
        if case.moment.share and sleep_until(case, command) and case.is_first():
            self._send(command.pid)

    def _send(self, command: int) -> None:
        if self._reaches_all:
            os.killpg(command, self._number)
        else:
            kill(command, self._number)


class Killed(Asked):
    """SIGKILL to all of its processes, as when the machine loses power: nobody can write anything down."""

    ends_as = frozenset()
    is_clean = False

    def __init__(self) -> None:
        super().__init__("SIGKILL", signal.SIGKILL, reaches_all=True)
        self.exits = frozenset({-signal.SIGKILL})


class WorkerKilled(Fault):
    """SIGKILL to the process of one training or trial, as when memory runs out."""

    name = "SIGKILL of a worker"
    stages = ("tune", "main")
    ends_as = frozenset({"FAILED", "KILLED"})
    in_time = True
    is_clean = False  # temporary files are of the process that was killed

    def before(self, case: Case) -> None:
        self._command = os.getpid()
        super().before(case)

    def act(self, case: Case) -> None:
        if os.getpid() == self._command:
            case.injected.unlink()
        else:
            kill(os.getpid(), signal.SIGKILL)

    def meanwhile(self, case: Case, command: process.Command) -> None:
        if case.moment.share and sleep_until(case, command):
            members = command.members()
            servers = {pid for pid, parent in members.items() if parent == command.pid}
            workers = [pid for pid, parent in members.items() if parent in servers]
            if workers and case.is_first():
                kill(workers[0], signal.SIGKILL)


FAULTS = (
    Killed(),
    WorkerKilled(),
    Asked("SIGTERM", signal.SIGTERM, reaches_all=False),
    Asked("SIGTERM to all", signal.SIGTERM, reaches_all=True),
    Asked("Ctrl-C", signal.SIGINT, reaches_all=True),
    Asked("SIGHUP", signal.SIGHUP, reaches_all=True),
)
