"""All trials at once in one process, where they train nothing but a head: see `stages/search/vmapped_heads.py`."""

from __future__ import annotations

from pipeline.errors import ConfigError, PipelineError
from pipeline.stages.processes.workers import WorkerProcess, WorkerProcesses
from pipeline.stages.progress import say
from pipeline.stages.search.executor import Outcome
from pipeline.stages.search.plan import SearchPlan
from pipeline.stages.search.trial import TrialTask, run_trials_together
from pipeline.stages.search.vmapped_heads import trains_together
from pipeline.training.vmapped_heads import differ_in_optimization_only

_MOST_AT_ONCE = 64
"""More trials are trained in so many at a time: weights, moments and the best weights of each are in memory."""


def create(plan: SearchPlan, precision: str, processes: WorkerProcesses) -> BatchedExecutor:
    """An executor for all trials of the search, or as many as fit.

    Raises:
        ConfigError: The trials cannot train together.
    """
    if why := why_not(plan, precision, processes):
        raise ConfigError(f"--executor batched: {why}. Leave it out, or give --executor local.")
    return build(plan, processes)


def build(plan: SearchPlan, processes: WorkerProcesses) -> BatchedExecutor:
    """The executor, where `why_not` has nothing against it."""
    if plan.config.workers > 1:
        say(
            f"--workers {plan.config.workers} is ignored: the trials train at once in one process. With --executor local "
            "each has a process of its own."
        )
    return BatchedExecutor(min(len(plan.known_points()), _MOST_AT_ONCE), processes)


def why_not(plan: SearchPlan, precision: str, processes: WorkerProcesses) -> str:
    """Why the trials of the search cannot train together; empty where they can."""
    config = plan.config
    points = plan.known_points()
    if not points:
        return f"the points of --sampler {config.sampler} with a budget of {plan.budget} are not known beforehand"
    if config.pruner != "none":
        return f"--pruner {config.pruner} ends trials one by one"
    if config.num_processes > 1:
        return f"--num-processes {config.num_processes} divides each training"
    candidates = [plan.candidate(point, precision) for point in points]
    if {candidate.optimizer for candidate in candidates} != {"adamw"}:
        return "only AdamW steps several heads at once (--optimizer adamw)"
    if differ_in_optimization_only(candidates) and processes.call(trains_together, candidates):
        return ""
    return (
        f"the trials of {config.title} do not train at once: only several do that train a head on a frozen encoder and "
        "differ in nothing but options of the optimizer, dropout, epochs or batch size"
    )


class BatchedExecutor:
    """One process for all trials that were handed in."""

    name = "batched"

    def __init__(self, slots: int, processes: WorkerProcesses) -> None:
        """Begin with nothing to do."""
        self.slots = slots
        self._processes = processes
        self._waiting: list[TrialTask] = []
        self._ended: list[Outcome] = []
        self._running: WorkerProcess[list[str | PipelineError]] | None = None

    def submit(self, task: TrialTask) -> None:
        """Keep the trial for the next process, which starts when somebody waits."""
        self._waiting.append(task)

    def wait(self) -> Outcome:
        """The next outcome; where none is left, train all that were handed in."""
        if not self._ended:
            tasks, self._waiting = self._waiting, []
            self._running = self._processes.start(run_trials_together, tasks)
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


def _outcome(task: TrialTask, result: str | PipelineError) -> Outcome:
    return Outcome(task.number, error=result) if isinstance(result, PipelineError) else Outcome(task.number, run_id=result)
