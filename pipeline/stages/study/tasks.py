"""What a study hands to an executor: a training, and then its test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import config as configs
from pipeline.stages import evaluate, train
from pipeline.stages.processes.workers import SECONDS_TO_CLOSE
from pipeline.stages.study.resume import find_finished
from pipeline.tracking import open_tracker
from pipeline.tracking.tags import Tag
from pipeline.training.precision import choose_precision
from pipeline.training.setup import find_inputs


@dataclass(frozen=True)
class TrainingTask:
    """All that a process needs for one training; can be sent to another machine."""

    number: int
    label: str
    config: configs.TrainConfig
    parent_id: str
    tuned: Mapping[str, str]
    """Tags of the search that chose the settings."""
    tags: Mapping[str, str]
    """On the run from its beginning, those of the search among them: no other run of the study at the time has the same."""
    lock: Path
    """Held by whoever trains this."""
    is_repeated: bool = False
    """Whether a process that had this task is lost."""

    @property
    def num_processes(self) -> int:
        """Those that train together."""
        return self.config.num_processes

    def run(self) -> str:
        """Train; what another process did before it was lost is taken over."""
        if self.is_repeated and (done := self._wait_for_lost()):
            return done
        return train.run(self.config, parent_id=self.parent_id, tags=self.tags).run_id

    def again(self) -> TrainingTask:
        """The same, which first looks what was done."""
        return dataclasses.replace(self, is_repeated=True)

    def _wait_for_lost(self) -> str:
        """Wait for the process that was lost, which may be about to end; the id of the run if it has finished one."""
        try:
            with FileLock(self.lock, timeout=SECONDS_TO_CLOSE):
                inputs, precision = find_inputs(self.config), choose_precision(self.config.precision)
                done = find_finished(open_tracker(), inputs, precision, tuned=self.tuned, below=self.parent_id)
        except Timeout:  # the training itself says who is at it
            return ""
        return done.run_id if done else ""


@dataclass(frozen=True)
class EvaluationTask:
    """The same for the test of a trained run."""

    number: int
    label: str
    config: configs.EvaluateConfig
    parent_id: str
    num_processes: int
    """Those of the training: of the devices that it had, the test has the first."""

    @property
    def tags(self) -> Mapping[str, str]:
        """On the run of the test from its beginning."""
        return {Tag.EVALUATES: self.config.run_id or ""}

    def run(self) -> str:
        """Test the run, unless that was done."""
        return evaluate.run(self.config, parent_id=self.parent_id).run_id

    def again(self) -> EvaluationTask:
        """As it is: a test is begun anew."""
        return self
