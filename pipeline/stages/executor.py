"""The interface of an executor: it takes trainings and tests, of a search or a study, and hands back how each has ended."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline import config as configs
from pipeline.errors import PipelineError, ProcessLostError
from pipeline.registry import EXECUTORS
from pipeline.stages.processes import collector
from pipeline.stages.processes.workers import WorkerProcesses
from pipeline.stages.progress import say


class Task(Protocol):
    """A training or a test: all that a process needs to carry it out. Can be sent to another machine."""

    @property
    def number(self) -> int:
        """By which its outcome is known; no two tasks at work have the same."""

    @property
    def label(self) -> str:
        """What it is called: each of its lines begins with that where several tasks write lines."""

    @property
    def num_processes(self) -> int:
        """How many processes, with a GPU each, it starts itself."""

    def run(self) -> str:
        """Carry it out in this process; returns the id of its run."""

    def again(self) -> Task:
        """The same for another process, where that which had it is lost."""


class Together(Protocol):
    """How tasks can all be carried out in one process."""

    @property
    def size(self) -> int:
        """How many tasks there are."""

    @property
    def run(self) -> Callable[[Sequence[Any]], list[str | PipelineError]]:
        """Carries out tasks in one process; of each the id of its run, or why it failed. Can be sent to another process."""

    def why_not(self, processes: WorkerProcesses) -> str:
        """Why that is not possible; empty where it is."""


@dataclass(frozen=True)
class Work:
    """What an executor is wanted for."""

    config: configs.SearchConfig
    """Whose `--executor`, `--workers`, `--num-processes` and `--ray-address` count."""
    together: Together | None = None
    """None where tasks are carried out one by one in any case."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended: with its run's id, or with an error.

    A `ProcessLostError` says that the task did nothing wrong: its process was killed, or its machine is gone.
    """

    number: int
    run_id: str = ""
    error: PipelineError | None = None


class Executor(Protocol):
    """Carries out tasks.

    A module in `executors/` has a function `create(work, processes) -> Executor`, which raises ConfigError where it cannot
    work, and a function `describe(config) -> str`, which says where and how many tasks run at once. It may have a function
    `check(config)`, which raises ConfigError where the options alone say so; it is called before anything is begun.

    When a task's outcome is handed back, its run is finished in the tracking store.
    """

    name: str
    """As `--executor` has it."""
    slots: int
    """How many tasks it wants at once; it is given the next one as soon as it has fewer."""
    workers: int
    """How many processes it keeps at work at once, if it has as many tasks: what a task takes depends on it."""

    def submit(self, task: Task) -> None:
        """Begin a task; returns at once."""

    def wait(self) -> Outcome:
        """How the next task that ends has ended; called only while there is one."""

    def stop(self) -> None:
        """End all tasks that still run, and let go of everything; where that was done, do nothing."""


def list_executors() -> list[str]:
    """Names of all executors, sorted."""
    return EXECUTORS.names()


def check_executor(config: configs.SearchConfig) -> None:
    """Hold `--executor` against the files, and the options against what it says of them.

    Raises:
        ConfigError: There is none of that name, or it cannot work with these options.
    """
    EXECUTORS.check(config.executor, "--executor")
    check = getattr(EXECUTORS.load(config.executor), "check", None)
    if check is not None:
        check(config)


def describe_executor(config: configs.SearchConfig) -> str:
    """Where tasks run, and how many at once."""
    described: str = EXECUTORS.load(config.executor).describe(config)
    return described


def create_executor(work: Work, processes: WorkerProcesses) -> Executor:
    """The executor of `--executor`, ready to take tasks; one whose process is lost is handed out again.

    Raises:
        ConfigError: It cannot work here, or not for these tasks.
    """
    executor: Executor = EXECUTORS.load(work.config.executor).create(work, processes)
    collector.resume()  # tasks may be many, and each leaves a little behind
    return PersistentExecutor(executor)


@contextlib.contextmanager
def stopping(executor: Executor) -> Iterator[Executor]:
    """The executor, stopped at the end of the block whatever happens in it."""
    try:
        yield executor
    finally:
        executor.stop()


_SECOND_CHANCES = 2
"""How often a task is handed out again whose process was lost."""


class PersistentExecutor:
    """An executor that hands a task out again when its process was lost, twice at most."""

    def __init__(self, executor: Executor) -> None:
        """Begin with nothing to do."""
        self._executor = executor
        self.name, self.slots, self.workers = executor.name, executor.slots, executor.workers
        self._tasks: dict[int, Task] = {}
        self._losses: dict[int, int] = defaultdict(int)

    def submit(self, task: Task) -> None:
        """Begin a task."""
        self._tasks[task.number], self._losses[task.number] = task, 0
        self._executor.submit(task)

    def wait(self) -> Outcome:
        """How the next task has ended that ended by itself, or was lost too often."""
        while True:
            outcome = self._executor.wait()
            number = outcome.number
            if not isinstance(outcome.error, ProcessLostError) or self._losses[number] == _SECOND_CHANCES:
                del self._tasks[number], self._losses[number]
                return outcome
            self._losses[number] += 1
            self._tasks[number] = again = self._tasks[number].again()
            say(f"  the process of {again.label} was killed; it is begun again, from its last checkpoint")
            self._executor.submit(again)

    def stop(self) -> None:
        """End all tasks."""
        self._executor.stop()
