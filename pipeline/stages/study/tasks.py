"""What a study hands to an executor: a training with its test, or the test of a training that is there."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import config as configs
from pipeline.stages import evaluate, train
from pipeline.stages.processes.workers import SECONDS_TO_CLOSE, is_held
from pipeline.stages.progress import relabel_lines
from pipeline.stages.study.resume import find_finished
from pipeline.tracking import open_tracker
from pipeline.tracking.tags import Tag
from pipeline.training.precision import choose_precision
from pipeline.training.setup import find_inputs


@dataclass(frozen=True)
class EvaluationTask:
    """All that a process needs for the test of a trained run; can be sent to another machine."""

    number: int
    label: str
    config: configs.EvaluateConfig
    parent_id: str
    num_processes: int
    """Those of the training: of the devices that it had, the test has the first."""
    at_once: int = 1
    """How many tasks run at once: what answering costs depends on it."""

    @property
    def tags(self) -> Mapping[str, str]:
        """On the run of the test from its beginning."""
        return {Tag.EVALUATES: self.config.run_id or ""}

    def run(self) -> str:
        """Test the run, unless that was done."""
        return evaluate.run(self.config, parent_id=self.parent_id, at_once=self.at_once).run_id

    def again(self) -> EvaluationTask:
        """As it is: a test is begun anew."""
        return self


@dataclass(frozen=True)
class TrainingTask:
    """The same for one training and its test."""

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
    test: configs.EvaluateConfig
    """That of the test, which lacks the run."""
    is_repeated: bool = False
    """Whether a process that had this task is lost."""

    @property
    def num_processes(self) -> int:
        """Those that train together."""
        return self.config.num_processes

    def run(self) -> str:
        """Train, and test what was saved; what another process did before it was lost is taken over.

        Of a study that was killed a process may still be at it, until its step is whole.
        """
        run_id = ((self.is_repeated or is_held(self.lock)) and self._wait_for_lost()) or self._train()
        test = self.test_of(run_id)
        relabel_lines(test.label)
        test.run()
        return run_id

    def test_of(self, run_id: str) -> EvaluationTask:
        """The test of a run that did this training."""
        config = dataclasses.replace(self.test, run_id=run_id)
        at_once = int(self.tags[Tag.WORKERS])
        return EvaluationTask(self.number, f"test of {self.label}", config, self.parent_id, self.num_processes, at_once)

    def again(self) -> TrainingTask:
        """The same, which first looks what was done."""
        return dataclasses.replace(self, is_repeated=True)

    def _train(self) -> str:
        run_id = train.run(self.config, parent_id=self.parent_id, tags=self.tags).run_id
        gc.collect()  # the trained model, which refers to itself: the test reads the saved one
        return run_id

    def _wait_for_lost(self) -> str:
        """Wait for the process that was lost, which may be about to end; the id of the run if it has finished one."""
        try:
            with FileLock(self.lock, timeout=SECONDS_TO_CLOSE):
                inputs, precision = find_inputs(self.config), choose_precision(self.config.precision)
                done = find_finished(open_tracker(), inputs, precision, tuned=self.tuned, below=self.parent_id)
        except Timeout:  # the training itself says who is at it
            return ""
        return done.run_id if done else ""
