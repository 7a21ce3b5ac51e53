"""All trials of a search at once in one process, where they train nothing but a head: see `stages/search/vmapped_heads.py`."""

from __future__ import annotations

from pipeline.errors import ConfigError, PipelineError
from pipeline.stages.executor import Executor, Outcome, Task, Together, Work
from pipeline.stages.executors import local
from pipeline.stages.processes.workers import WorkerProcess, WorkerProcesses
from pipeline.stages.progress import say

_MOST_AT_ONCE = 64
"""More tasks are trained in so many at a time: weights, moments and the best weights of each are in memory."""

describe = local.describe
"""Of a study's own trainings, which never train together."""


def create(work: Work, processes: WorkerProcesses) -> Executor:
    """An executor for all trials of a search, or as many as fit; of what is no search, `local`.

    Raises:
        ConfigError: The trials cannot train together.
    """
    if work.together is None:
        return local.create(work, processes)
    if why := work.together.why_not(processes):
        raise ConfigError(f"--executor batched: {why}. Leave it out, or give --executor local.")
    return build(work, work.together, processes)


def build(work: Work, together: Together, processes: WorkerProcesses) -> BatchedExecutor:
    """The executor, where `why_not` has nothing against it."""
    if work.config.workers > 1:
        say(
            f"--workers {work.config.workers} is ignored: the trials train at once in one process. With --executor local "
            "each has a process of its own."
        )
    return BatchedExecutor(together, processes)


class BatchedExecutor:
    """One process for all tasks that were handed in."""

    name, workers = "batched", 1

    def __init__(self, together: Together, processes: WorkerProcesses) -> None:
        """Begin with nothing to do."""
        self.slots = min(together.size, _MOST_AT_ONCE)
        self._together, self._processes = together, processes
        self._waiting: list[Task] = []
        self._ended: list[Outcome] = []
        self._running: WorkerProcess[list[str | PipelineError]] | None = None

    def submit(self, task: Task) -> None:
        """Keep the task for the next process, which starts when somebody waits."""
        self._waiting.append(task)

    def wait(self) -> Outcome:
        """The next outcome; where none is left, train all that were handed in."""
        if not self._ended:
            tasks, self._waiting = self._waiting, []
            self._running = self._processes.start(self._together.run, tasks)
            try:
                results: list[str | PipelineError] = self._running.result()
            except PipelineError as error:  # who died, or failed before anything was trained, has failed them all
                results = [error] * len(tasks)
            self._running = None
            self._ended = [_outcome(task, result) for task, result in zip(tasks, results, strict=True)]
        return self._ended.pop(0)

    def stop(self) -> None:
        """Interrupt the process; it closes the run that it has open."""
        if self._running is not None:
            self._running.interrupt()
            self._running.join()
            self._running = None


def _outcome(task: Task, result: str | PipelineError) -> Outcome:
    return Outcome(task.number, error=result) if isinstance(result, PipelineError) else Outcome(task.number, run_id=result)
