"""One trial of a search: a training nested below the search's run. Executors carry it out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pipeline import config as configs
from pipeline.errors import PipelineError
from pipeline.stages import train
from pipeline.stages.processes.workers import WorkerProcesses
from pipeline.stages.search.plan import SearchPlan
from pipeline.stages.search.vmapped_heads import train_heads_together, trains_together
from pipeline.tracking import open_tracker
from pipeline.tracking.tags import Tag
from pipeline.training.saved_model import NAME
from pipeline.training.vmapped_heads import differ_in_optimization_only


@dataclass(frozen=True)
class TrialTask:
    """All that a process needs to train one trial; can be sent to another machine."""

    number: int
    config: configs.TrainConfig
    parent_id: str
    tags: Mapping[str, str]
    """Name the search and the trial: no other run carries the same."""
    folder: Path
    """Where the trial's model is when it has ended, as `folder/model`; on the machine of whoever searches."""
    stop_rule: Callable[[int, Mapping[str, float]], bool] | None = None
    """Asked after each evaluation whether to end, with training step and metrics."""
    workers: int = 1
    """How many trials are trained at once."""

    @property
    def label(self) -> str:
        """As the search numbers it."""
        return f"trial {self.number + 1}"

    @property
    def num_processes(self) -> int:
        """Those of its training."""
        return self.config.num_processes

    @property
    def model_folder(self) -> Path:
        """The trial's model."""
        return self.folder / NAME

    @property
    def tags_of_run(self) -> dict[str, str]:
        """Those that name it, and what its times depend on, which another attempt may have otherwise."""
        return {**self.tags, Tag.WORKERS: str(self.workers)}

    def run(self) -> str:
        """Train the trial and return its run's id; a trial that was trained already is not trained again.

        The search may have been killed while the process of this trial was about to end: whoever comes next waits for that
        process and takes over what it did.
        """
        with _claim(self) as done:
            if done is not None:
                return done
            result = train.run(
                self.config,
                parent_id=self.parent_id,
                tags=self.tags_of_run,
                model_folder=self.model_folder,
                stop_rule=self.stop_rule,
            )
        return result.run_id

    def again(self) -> TrialTask:
        """As it is: it looks by itself what was done."""
        return self


@dataclass(frozen=True)
class TrialsTogether:
    """The trials of a search, all in one process, where they train nothing but a head on a frozen encoder."""

    plan: SearchPlan
    precision: str

    @property
    def size(self) -> int:
        """How many trials are known beforehand."""
        return len(self.plan.known_points())

    @property
    def run(self) -> Callable[[Sequence[TrialTask]], list[str | PipelineError]]:
        """Trains them."""
        return run_trials_together

    def why_not(self, processes: WorkerProcesses) -> str:
        """Why the trials cannot train together; empty where they can. Whether only a head trains is seen on a built model."""
        plan, config = self.plan, self.plan.config
        points = plan.known_points()
        if not points:
            return f"the points of --sampler {config.sampler} with a budget of {plan.budget} are not known beforehand"
        if config.pruner != "none":
            return f"--pruner {config.pruner} ends trials one by one"
        if config.num_processes > 1:
            return f"--num-processes {config.num_processes} divides each training"
        candidates = [plan.candidate(point, self.precision) for point in points]
        if {candidate.optimizer for candidate in candidates} != {"adamw"}:
            return "only AdamW steps several heads at once (--optimizer adamw)"
        if differ_in_optimization_only(candidates) and processes.call(trains_together, candidates):
            return ""
        return (
            f"the trials of {config.title} do not train at once: only several do that train a head on a frozen encoder and "
            "differ in nothing but options of the optimizer, dropout, epochs or batch size"
        )


def run_trials_together(tasks: Sequence[TrialTask]) -> list[str | PipelineError]:
    """Train trials that `trains_together`, but for those that were trained already; of each its run's id, or why it failed."""
    with contextlib.ExitStack() as claims:
        outcomes: dict[int, str | PipelineError] = {}
        for task in tasks:
            if (done := claims.enter_context(_claim(task))) is not None:
                outcomes[task.number] = done
        left = [task for task in tasks if task.number not in outcomes]
        if left:
            results = train_heads_together(
                [task.config for task in left],
                parent_id=left[0].parent_id,
                tags=[task.tags_of_run for task in left],
                model_folders=[task.model_folder for task in left],
            )
            for task, result in zip(left, results, strict=True):
                outcomes[task.number] = result if isinstance(result, PipelineError) else result.run_id
    return [outcomes[task.number] for task in tasks]


@contextlib.contextmanager
def _claim(task: TrialTask) -> Iterator[str | None]:
    """Keep other processes from the trial; the id of its run where it is finished, else there is nothing of its model."""
    task.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(task.folder / "lock"):
        done = next((run.run_id for run in open_tracker().search(task.tags) if run.status == "FINISHED"), None)
        if done is None:
            shutil.rmtree(task.model_folder, ignore_errors=True)
        yield done
