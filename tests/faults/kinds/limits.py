"""What runs out or is forbidden: disks, memory, permissions; and a loss that is no number."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from ..fault import Baseline, Case, Fault
from ..moments import BEGINNING, choose_moments, patch
from ..stages import Stage
from ..workspace import Workspace, cannot_mount, is_root, mount

PLACES = ("cache", "store", "artifacts")
_NOBODY = 65534


class FullDisk(Fault):
    """The disk of one of the places is full from a moment on."""

    says = "full"
    ends_as = frozenset()  # a store on a full disk takes no status

    def __init__(self, place: str) -> None:
        self.name, self._place = f"full disk: {place}", place
        if place != "store":
            self.ends_as = frozenset({"FAILED"})

    def unavailable(self) -> str:
        return cannot_mount()

    def cases(
        self, stage: Stage, workspace: Workspace, baseline: Baseline, number: int, generator: random.Random
    ) -> list[Case]:
        moments = choose_moments(dict(baseline.calls), number - 1, generator, in_time=False)
        return [Case(stage, moment, workspace, baseline) for moment in (BEGINNING, *moments)]

    @contextlib.contextmanager
    def around(self, case: Case) -> Iterator[None]:
        with case.workspace.small_disk(self._folder(case)):
            if case.moment == BEGINNING and case.is_first():
                self.act(case)
            yield
            (self._folder(case) / "ballast").unlink(missing_ok=True)

    def act(self, case: Case) -> None:
        with (self._folder(case) / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def _folder(self, case: Case) -> Path:
        folder: Path = getattr(case.workspace, self._place)
        return folder


class LittleMemory(Fault):
    """The address space of the process may hardly grow from a moment on."""

    name = "memory limit"
    says = "memory"
    exits = frozenset({1, -signal.SIGABRT})  # libraries in C++ end the process where they cannot start a thread
    stages = ("prepare_data", "tune", "train", "evaluate", "main", "reproduce")
    ends_as = frozenset({"FAILED", "KILLED"})
    is_clean = False

    def act(self, case: Case) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


class ReadOnly(Fault):
    """The disk of one of the places can only be read."""

    _denied = "read-only|only be read|permission denied|may not be written"
    ends_as = frozenset()
    is_felt = False

    def __init__(self, place: str) -> None:
        self.name, self._place = f"read-only: {place}", place
        self.exits = frozenset({1, 2})
        where = {"cache": "--cache-dir", "store": "tracking store", "artifacts": "artifacts"}[place]
        self.says = f"{where}.*({self._denied})"

    def unavailable(self) -> str:
        return cannot_mount()

    def cases(
        self, stage: Stage, workspace: Workspace, baseline: Baseline, number: int, generator: random.Random
    ) -> list[Case]:
        return [Case(stage, BEGINNING, workspace, baseline)]

    @contextlib.contextmanager
    def around(self, case: Case) -> Iterator[None]:
        folder: Path = getattr(case.workspace, self._place)
        with case.workspace.small_disk(folder):
            mount("-o", "remount,ro", str(folder))
            yield
            mount("-o", "remount,rw", str(folder))


class NoPermission(ReadOnly):
    """One of the places belongs to somebody else, and the command has no right to write there."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.name = f"no permission: {place}"

    def unavailable(self) -> str:
        return "" if is_root() else "only root can become somebody else"

    @contextlib.contextmanager
    def around(self, case: Case) -> Iterator[None]:
        folder: Path = getattr(case.workspace, self._place)
        inside = [case.workspace.folder, *case.workspace.folder.rglob("*")]
        for path in inside:
            shutil.chown(path, _NOBODY, _NOBODY)
        denied = [folder, *folder.rglob("*")]
        modes = {path: path.stat().st_mode & 0o7777 for path in denied}
        for path in denied:
            shutil.chown(path, 0, 0)
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield
        for path, mode in modes.items():
            path.chmod(mode)

    def before(self, case: Case) -> None:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


class NoNumber(Fault):
    """The loss of a step is NaN or infinite: that training fails by itself."""

    says = "loss"
    stages = ("train", "main", "reproduce")

    def __init__(self, value: str) -> None:
        self.name, self._value = f"loss {value}", float(value)

    def cases(
        self, stage: Stage, workspace: Workspace, baseline: Baseline, number: int, generator: random.Random
    ) -> list[Case]:
        return [Case(stage, BEGINNING, workspace, baseline, variant=f"step {generator.randint(1, 5)}") for _ in range(number)]

    def before(self, case: Case) -> None:
        steps, wanted = [], int(case.variant.split()[1])

        def ruin(step):  # type: ignore[no-untyped-def]
            def ruined(*arguments, **keywords):  # type: ignore[no-untyped-def]
                loss = step(*arguments, **keywords)
                steps.append(loss)
                return loss * self._value if len(steps) == wanted and case.is_first() else loss

            return ruined

        patch("pipeline.training.loop:compute_gradients", ruin)


FAULTS = (
    *(FullDisk(place) for place in PLACES),
    *(ReadOnly(place) for place in PLACES),
    *(NoPermission(place) for place in PLACES),
    LittleMemory(),
    NoNumber("nan"),
    NoNumber("inf"),
)
