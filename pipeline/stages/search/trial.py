"""One trial of a search: a training nested below the search's run. Every executor calls it."""

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
from pipeline.stages.search.vmapped_heads import train_heads_together
from pipeline.tracking import open_tracker
from pipeline.training.saved_model import NAME


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

    @property
    def model_folder(self) -> Path:
        """The trial's model."""
        return self.folder / NAME


def run_trial(task: TrialTask) -> str:
    """Train the trial and return its run's id; a trial that was trained already is not trained again.

    The search may have been killed while the process of this trial was about to end: whoever comes next waits for that
    process and takes over what it did.
    """
    with _claim(task) as done:
        if done is not None:
            return done
        result = train.run(
            task.config, parent_id=task.parent_id, tags=task.tags, model_folder=task.model_folder, stop_rule=task.stop_rule
        )
    return result.run_id


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
                tags=[task.tags for task in left],
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
