"""Worker processes, one per training or test, and locks between processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout

from pipeline import interruption
from pipeline.errors import PipelineError, ProcessLostError
from pipeline.failures import foreseen, unforeseen
from pipeline.known import once, share, take_over
from pipeline.tracking.runs import close_opened

T = TypeVar("T")

_PRELOAD = "pipeline.stages.processes.preload"
_PRELOADED = [_PRELOAD]
SECONDS_TO_CLOSE = 30
"""How long a process that was told to end may take to close its run."""


@contextlib.contextmanager
def hold_lock(lock: Path, what: str, otherwise: str = "another --seed or --cache-dir") -> Iterator[None]:
    """Keep other processes from the same work for as long as the block lasts; the system lets go of it when we die.

    Args:
        lock: A file that stands for the work.
        what: The work, such as `training`.
        otherwise: What to give for work that is not the same.

    Raises:
        PipelineError: Another process is at it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise PipelineError(f"The same {what} is running already (lock {lock}). Wait for it, or give {otherwise}.") from error
    try:
        yield
    finally:
        held.release()


def is_held(lock: Path) -> bool:
    """Whether another process is at the work that this lock stands for."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        return True
    held.release()
    return False


class WorkerProcess(Generic[T]):
    """A function at work in a process of its own."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        """Use `WorkerProcesses.start`."""
        self._process, self.connection = process, connection
        self._interrupted = False

    def result(self, holds_device: bool = True) -> T:
        """What the function returned, once it has; its errors are raised here. When we are interrupted, so is the process.

        Args:
            holds_device: Whether the next process may need memory of a device that this one holds until it has ended.

        Raises:
            ProcessLostError: The process died without a word, for example for lack of memory.
            PipelineError: The function failed.
        """
        has_answered = False
        try:
            succeeded, outcome = self.connection.recv()
            has_answered = True
        except EOFError as error:
            self._process.join()
            if self._process.exitcode in interruption.STATUSES:
                raise ProcessLostError("The process of this run was told to end from outside, and closed its run.") from error
            raise ProcessLostError(
                "The process of this run was killed from outside; the system may have run out of memory. "
                "Run the same command to resume from the last checkpoint; a smaller --batch-size, or "
                "--gradient-accumulation-steps, needs less."
            ) from error
        except BaseException:
            self.interrupt()
            raise
        finally:
            if has_answered and not (holds_device and _has_gpu()):
                self.connection.close()  # it ends by itself; the system takes its memory back while the next one begins
            else:
                self.join()
        if not succeeded:
            raise outcome
        result: T = outcome
        return result

    def interrupt(self) -> None:
        """Ask the process to end; it closes its run, as for Ctrl-C."""
        self._interrupted = True
        self._process.terminate()

    def join(self, patience: float = SECONDS_TO_CLOSE) -> None:
        """Wait until the process has ended, which it is made to do if it was asked and takes too long, in seconds.

        Who is interrupted meanwhile, by a second Ctrl-C, ends it at once.
        """
        try:
            if self._interrupted:
                self._process.join(patience)
        finally:
            if self._interrupted:
                self.kill()
        self._process.join()
        self.connection.close()

    def kill(self) -> None:
        """End the process at once; its run is closed by the next one that begins."""
        self._process.kill()


class WorkerProcesses:
    """Runs functions, each in a fresh process."""

    _have_started = False
    """Whether there was one: see `preload`."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._context = fork_context()

    def prepare(self) -> None:
        """Start the process to fork from: it imports beside what the caller does, instead of when it first calls."""
        # It would answer Ctrl-C with a traceback until it has imported everything; it ends with us in any case.
        in_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
        try:
            forkserver.ensure_running()
        finally:
            if in_main:
                signal.signal(signal.SIGINT, before)

    def prepare_runs(self) -> None:
        """Have it import what runs take, too, unless it does: else the first run would, and take longer than the others."""
        if not WorkerProcesses._have_started:
            self.call(int)

    def call(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """The function's result, as `WorkerProcess.result` has it; what it found out about files is known here afterwards."""
        result, known = self.start(_with_what_is_known, function, *arguments, **keywords).result(holds_device=False)
        take_over(known)
        returned: T = result
        return returned

    def delegate(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """The same of a function that imports torch, which so stays out of this process; called here if it is there already."""
        if "torch" in sys.modules:
            return function(*arguments, **keywords)
        return self.call(function, *arguments, **keywords)

    def start(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> WorkerProcess[T]:
        """The function at work; returns at once."""
        receiver, sender = self._context.Pipe(duplex=False)
        state = dict(os.environ), share()
        process = self._context.Process(target=_work, args=(sender, *state, function, arguments, keywords))
        process.start()
        WorkerProcesses._have_started = True
        sender.close()
        return WorkerProcess(process, receiver)


def _with_what_is_known(function: Callable[..., T], *arguments: Any, **keywords: Any) -> tuple[T, Mapping[Hashable, Any]]:
    result = function(*arguments, **keywords)
    once(_GPU, _has_gpu)
    return result, share()


_GPU = "GPU"


def _has_gpu() -> bool:
    """Whether there is a device with memory of its own; yes where that is not known."""
    torch = sys.modules.get("torch")
    return bool(share().get(_GPU, True) if torch is None else torch.cuda.is_available())


def fork_context() -> ForkServerContext:
    """Where processes come from: forked from one that has imported everything heavy."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _work(
    sender: Connection,
    environment: Mapping[str, str],
    known: Mapping[Hashable, Any],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> None:
    """Call the function and send back (True, result) or (False, error)."""
    os.environ.clear()  # the one we are forked from was started with that of another moment
    os.environ.update(environment)
    take_over(known)
    if preload := sys.modules.get(_PRELOAD):  # the server may go on: whatever comes next waits until it has imported the rest
        preload.release_server()
    for number in (signal.SIGINT, signal.SIGHUP):  # they reach the parent, which terminates us
        signal.signal(number, signal.SIG_IGN)
    interruption.listen(signal.SIGTERM, ignore_more=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        sender.send((True, function(*arguments, **keywords)))
    except PipelineError as error:
        sender.send((False, foreseen(error) or error))
    except KeyboardInterrupt as error:  # the parent asked for it, or is gone; a traceback would tell nobody anything
        close_opened(error)
        sys.exit(interruption.status_of(error))
    except Exception as error:  # whatever it is, it must not end the other runs
        if not foreseen(error):
            traceback.print_exc()
        sender.send((False, unforeseen(error)))


def end_with_parent() -> None:
    """Ask ourselves to end when the parent is gone: an orphan would hold its lock and train for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
