"""The tracking server or database is away, or answers nonsense."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .. import process
from ..fault import Case, Fault
from ..servers import Database, Server, Store, no_postgresql
from ..workspace import Workspace

_AWAY_SECONDS = 8.0
"""Stands for a minute: longer than a call waits by itself."""


class Away(Fault):
    """The store is gone from a moment on, for so many seconds or until the command ends; or it answers 500."""

    ends_as = frozenset()
    says = "tracking store .* MLFLOW_TRACKING_URI"

    def __init__(self, name: str, make: Callable[[Workspace], Store], seconds: float | None, answers: bool = False) -> None:
        self.name, self._make, self._seconds, self._answers = name, make, seconds, answers
        self.exits = frozenset({1}) if seconds is None else frozenset()
        if make is Database:  # an empty one is what it can begin with
            self.stages = ("prepare_data", "tune", "train", "main")

    def unavailable(self) -> str:
        return no_postgresql() if self._make is Database else ""

    def play(self, case: Case) -> tuple[bool, list[str]]:
        self._store = self._make(case.workspace)
        try:
            self._store.start()
            if isinstance(self._store, Database):
                self._store.make_experiment()
            case.environment = {"MLFLOW_TRACKING_URI": self._store.address}
            case.options = {"store_patience_seconds": "4" if self._seconds is None else "120"}
            return super().play(case)
        finally:
            self._store.stop()

    @contextlib.contextmanager
    def around(self, case: Case) -> Iterator[None]:
        yield
        if case.injected.exists() and self._seconds is None:
            self._bring_back()

    def act(self, case: Case) -> None:
        if self._answers:
            self._store.broken.touch()
        else:
            self._store.kill()

    def meanwhile(self, case: Case, command: process.Command) -> None:
        if self._seconds is None:
            return
        process.wait_until(lambda: case.injected.exists() or command.is_over(), process.SECONDS_UNTIL_HUNG)
        process.wait_until(command.is_over, self._seconds)
        if case.injected.exists():
            self._bring_back()

    def _bring_back(self) -> None:
        self._store.broken.unlink(missing_ok=True)
        if not self._answers:
            self._store.stop()
            self._store.start()


FAULTS = (
    Away("server gone for a while", Server, _AWAY_SECONDS),
    Away("server gone for good", Server, None),
    Away("server answers 500 for a while", Server, _AWAY_SECONDS, answers=True),
    Away("server answers 500", Server, None, answers=True),
    Away("PostgreSQL gone for a while", Database, _AWAY_SECONDS),
    Away("PostgreSQL gone for good", Database, None),
)
