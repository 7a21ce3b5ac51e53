"""A command in a process of its own: forked from this one, which has imported everything, so that it begins at once.

It is a session of its own, with the signals, environment and exit status of a process that a shell starts; and since it is
forked, a fault may change anything in it before the command begins.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import pickle
import pkgutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any

import pipeline

IMPORTED = (
    "pipeline.stages.processes.preload",
    *(f"pipeline.stages.{stage}" for stage in ("prepare_data", "tune", "train", "evaluate", "compare", "main", "reproduce")),
    "pipeline.stages.executors.local",
    "encodings.utf_8_sig",
    "mlflow.pyfunc",
    "optuna",
)
SECONDS_UNTIL_HUNG = 180.0
_TICK, _LONGEST_TICK = 0.01, 0.1
_STOP_SECONDS = 2.0


class Stops:
    """For how long this process, and the commands with it, were stopped from outside, as by a measurement beside them."""

    seconds = 0.0


def wait_until(happened: Callable[[], bool], seconds: float) -> float:
    """Wait until it has happened, at most so long; returns the seconds. Those in which we were stopped do not count."""
    waited = 0.0
    while waited < seconds and not happened():
        began = time.monotonic()
        time.sleep(_TICK)
        took = time.monotonic() - began
        waited += min(_LONGEST_TICK, took)
        Stops.seconds += took if took > _STOP_SECONDS else 0.0
    return waited


def import_all() -> None:
    """Import once what every command uses."""
    for name in IMPORTED:
        importlib.import_module(name)
    sys.modules[IMPORTED[0]].import_rest()
    for module in pkgutil.walk_packages(pipeline.__path__, "pipeline."):  # what is imported late, too: who becomes somebody
        importlib.import_module(module.name)  # else may be unable to read the modules
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    status: int
    """Exit status; minus the number of the signal that killed it."""
    output: str
    seconds: float = 0.0
    """For which it was waited, without those in which we were stopped."""
    left: Sequence[int] = ()
    """Processes of its session that were alive after it; they are killed by now."""

    @property
    def errors(self) -> list[str]:
        """The lines that say what went wrong."""
        return [line for line in self.output.splitlines() if line.startswith("Error: ")]

    @property
    def error(self) -> str:
        """The first of them; empty where there is none."""
        return next(iter(self.errors), "")


class Command:
    """A command that runs."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], before: Callable[[], None] = lambda: None
    ) -> None:
        """Begin it in a folder, with an environment beside our own; `before` is called in its process."""
        self._output = folder / f"output-{time.monotonic_ns()}.txt"
        self._output.touch()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            become(lambda: _command(arguments, before), folder, environment, self._output)

    def is_over(self) -> bool:
        """Whether it has ended; it can still be waited for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self, seconds: float = SECONDS_UNTIL_HUNG) -> Ended:
        """How it ended; it is killed, and counts so, after that many seconds."""
        waited = wait_until(self.is_over, seconds)
        if not self.is_over():
            self._end_all()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        wait_until(lambda: not self.members(), seconds=2.0)
        return Ended(status, self._output.read_text(errors="replace"), waited, self._end_all())

    def said(self) -> str:
        """Its output so far."""
        return self._output.read_text(errors="replace")

    def members(self) -> dict[int, int]:
        """Living processes of its session -> their parents."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent, _group, session = entry.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state != "Z":
                    found[int(entry.parent.name)] = int(parent)
        return found

    def _end_all(self) -> list[int]:
        left = list(self.members())
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left


def call(function: Callable[[], Any], folder: Path, environment: Mapping[str, str] = {}) -> Any:
    """What a function returns in a process of its own: what it opens, such as a tracking store, is not open here afterwards."""
    receiver, sender = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(receiver)

        def answer() -> None:
            with os.fdopen(sender, "wb") as file:
                pickle.dump(function(), file)

        become(answer, folder, environment, None)
    os.close(sender)
    with os.fdopen(receiver, "rb") as file:
        content = file.read()
    os.waitpid(pid, 0)
    if not content:
        raise RuntimeError(f"{function} failed in {folder}")
    return pickle.loads(content)  # noqa: S301  # of our own child


def become(work: Callable[[], Any], folder: Path, environment: Mapping[str, str], output: Path | None) -> None:
    """The rest of a forked process: never returns."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if output is not None:
            descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
        os.chdir(folder)
        os.environ.update(environment)
        work()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _command(arguments: Sequence[str], before: Callable[[], None]) -> None:
    from pipeline.__main__ import cli

    sys.argv = ["python -m pipeline", *arguments]
    before()
    if arguments[0] in ("main", "tune"):
        _fork_workers()
    cli(list(arguments), prog_name="python -m pipeline")


def _fork_workers() -> None:
    """Let the process from which workers are forked be forked, too, in place of importing everything for ten seconds."""
    spawn = util.spawnv_passfds

    def fork(path: bytes, args: Sequence[Any], passed: Sequence[int]) -> int:
        if "forkserver" not in str(args[-1]):
            return spawn(path, args, passed)
        pid = os.fork()
        if not pid:
            gc.freeze()
            keep = {0, 1, 2, *passed}
            for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
                if descriptor not in keep:
                    with contextlib.suppress(OSError):
                        os.close(descriptor)
            try:
                exec(args[-1])  # what the process would be given by `python -c`
            finally:
                os._exit(0)
        return pid

    util.spawnv_passfds = fork
    forkserver.set_forkserver_preload(["pipeline.stages.processes.preload"])
    forkserver.ensure_running()  # now, while nothing is open that two processes must not share
