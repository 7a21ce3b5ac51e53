"""The interface of an executor: it takes trials and returns their outcomes in the order in which they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import PipelineError
from pipeline.registry import EXECUTORS
from pipeline.stages.search.trial import TrialTask

if TYPE_CHECKING:
    from pipeline.config import TuneConfig
    from pipeline.stages.processes.workers import WorkerProcesses
    from pipeline.stages.search.plan import SearchPlan


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with its run's id, or with an error.

    A `ProcessLostError` says that the trial did nothing wrong: it is handed out again, and goes on from its checkpoint.
    """

    number: int
    run_id: str = ""
    error: PipelineError | None = None


class Executor(Protocol):
    """Runs trials.

    A module in `executors/` has a function `create(plan, precision, processes) -> Executor`, which raises
    ConfigError where it cannot work. It may have a function `check(config)`, which raises ConfigError where the options alone
    say so; it is called before anything is begun.

    When a trial's outcome is handed back, its run is finished in the tracking store, with all its metrics, and its model is in
    `task.model_folder`. Runs carry `task.tags` from their beginning and are nested below `task.parent_id`.
    """

    name: str
    """As `--executor` has it."""
    slots: int
    """How many trials it wants at once; it is given the next one as soon as it has fewer."""

    def submit(self, task: TrialTask) -> None:
        """Begin a trial; returns at once."""

    def wait(self) -> Outcome:
        """How the next trial that ends has ended; called only while there is one."""

    def stop(self) -> None:
        """End all trials that still run, and let go of everything."""


def list_executors() -> list[str]:
    """Names of all executors, sorted."""
    return EXECUTORS.names()


def check_executor(config: TuneConfig) -> None:
    """Hold `--executor` against the files, and the options against what it says of them.

    Raises:
        ConfigError: There is none of that name, or it cannot work with these options.
    """
    EXECUTORS.check(config.executor, "--executor")
    check = getattr(EXECUTORS.load(config.executor), "check", None)
    if check is not None:
        check(config)


def create_executor(plan: SearchPlan, precision: str, processes: WorkerProcesses) -> Executor:
    """The executor of `--executor`, ready to take trials.

    Raises:
        ConfigError: It cannot work here, or not for this search.
    """
    executor: Executor = EXECUTORS.load(plan.config.executor).create(plan, precision, processes)
    return executor
