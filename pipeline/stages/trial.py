"""One trial of a search: a training below the search's run. What an executor calls, wherever it runs trials."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pipeline import config as configs
from pipeline.stages import train
from pipeline.tracking import open_tracker
from pipeline.training.model_folder import NAME


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
    task.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(task.folder / "lock"):
        for run in open_tracker().search(task.tags):
            if run.status == "FINISHED":
                return run.run_id
        shutil.rmtree(task.model_folder, ignore_errors=True)
        result = train.run(
            task.config, parent_id=task.parent_id, tags=task.tags, model_folder=task.model_folder, stop_rule=task.stop_rule
        )
    return result.run_id
