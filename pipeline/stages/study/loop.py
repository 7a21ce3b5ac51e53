"""The loop of a study: reuse what is there, train and test the rest, as many at once as the executor takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pipeline import config as configs
from pipeline.config.fields import as_dict, describe_fields
from pipeline.errors import PipelineError, StoreAwayError, in_one_line
from pipeline.stages import evaluate
from pipeline.stages.executor import Executor, Outcome
from pipeline.stages.progress import say
from pipeline.stages.resume_training import drop_left_behind, lock_of
from pipeline.stages.study.plan import StudyPlan
from pipeline.stages.study.resume import find_finished
from pipeline.stages.study.tags import note_taken
from pipeline.stages.study.tasks import EvaluationTask, TrainingTask
from pipeline.tracking.run_kinds import is_trial
from pipeline.tracking.runs import RunLogger, Tracker, close_unfinished
from pipeline.tracking.tags import Tag
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.precision import Precision


@dataclass(frozen=True)
class Wanted:
    """A training that a study wants, and its test."""

    inputs: TrainingInputs
    row: str
    """What its row is called."""
    seed: str
    """Which of the row's trainings it is, as ` (seed 43)`; empty where there is one."""
    tuned: Mapping[str, str]
    """Tags of the search that chose its settings."""
    times_answers: bool = True
    """Whether its test measures what answers cost, if tests do."""

    @property
    def label(self) -> str:
        """What it is called in lines."""
        return f"{self.row}{self.seed}"


class StudyLoop:
    """Hands trainings, each with its test, to an executor.

    They are begun in the order in which they are wanted, the same whether one or several run at once.
    """

    def __init__(self, plan: StudyPlan, executor: Executor, tracker: Tracker, study: RunLogger) -> None:
        """Begin with nothing done."""
        self._plan, self._executor, self._tracker, self._study = plan, executor, tracker, study
        options = describe_fields(configs.MeasuringConfig).keys() - {"explicit"}
        self._test = configs.EvaluateConfig(**{name: value for name, value in as_dict(plan.config).items() if name in options})
        self._scores_alone = dataclasses.replace(self._test, latency_seconds=0.0)
        self._running: dict[int, TrainingTask | EvaluationTask] = {}
        """Place among the wanted -> what of it is at work."""
        self._failures: dict[int, str] = {}

    def run(self, wanted: Sequence[Wanted]) -> dict[int, str]:
        """Go on until each has its test result or has failed; the places of those that failed, with why, in their order."""
        waiting = list(range(len(wanted)))
        while True:
            while len(self._running) < self._executor.slots:
                place = self._take(waiting, wanted)
                if place is None:
                    break
                self._attempt(place, wanted[place])
            if not self._running:
                break
            self._end(self._executor.wait(), wanted)
        close_unfinished(self._tracker, self._study.run_id, "another run does its work", "KILLED")  # opened just before a kill
        return dict(sorted(self._failures.items()))

    def _take(self, waiting: list[int], wanted: Sequence[Wanted]) -> int | None:
        """The first that waits, but for those of which the same is at work: they will reuse it."""
        at_work = {wanted[place].inputs.identity for place in self._running}
        free = next((place for place in waiting if wanted[place].inputs.identity not in at_work), None)
        if free is not None:
            waiting.remove(free)
        return free

    def _attempt(self, place: int, want: Wanted) -> None:
        """Begin what is left to do of a training and its test; what goes wrong does not stop the others."""
        try:
            if task := self._find_task(place, want):
                self._running[place] = task
                self._executor.submit(task)
        except StoreAwayError:  # the others would wait for it, too
            raise
        except PipelineError as error:
            self._fail(place, want, error)

    def _find_task(self, place: int, want: Wanted) -> TrainingTask | EvaluationTask | None:
        """All, or the test of a run that did the same, or nothing. With --force only this study's own count as there."""
        config, inputs = self._plan.config, want.inputs
        precision = cast(Precision, inputs.config.precision)  # which the plan, or the search, has chosen and checked
        below = self._study.run_id if config.force else None
        at_once = self._executor.workers
        finished = find_finished(self._tracker, inputs, precision, tuned=want.tuned, below=below, workers=at_once)
        tags = {
            **want.tuned,
            "stage": "train",
            "config_hash": inputs.config_hash(precision),
            # The version is that of the plan: files may have been edited since these processes imported them.
            Tag.CODE_VERSION: inputs.code_version,
            Tag.WORKERS: str(self._executor.workers),
        }
        lock = lock_of(inputs).absolute()
        test = self._test if want.times_answers else self._scores_alone
        task = TrainingTask(place, want.label, inputs.config, self._study.run_id, want.tuned, tags, lock, test)
        if finished is None:
            return task
        note_taken(self._study, self._tracker, finished, inputs.config.title)
        if finished.stage == "trial":  # now it is the training of its seed, and queries for trainings shall find it
            self._tracker.open_for_update(finished.run_id).set_tags({"stage": "train"})
        what = "best trial" if is_trial(finished) else "run"
        say(f"{want.label}: reused, {what} {finished.run_id} did the same.")
        drop_left_behind(inputs, finished.run_id)
        found = task.test_of(finished.run_id)
        return None if evaluate.is_done(found.config, finished, self._tracker) else found

    def _end(self, outcome: Outcome, wanted: Sequence[Wanted]) -> None:
        """Note how a training and its test ended."""
        task = self._running.pop(outcome.number)
        if isinstance(outcome.error, StoreAwayError):
            raise outcome.error
        if outcome.error is not None:
            self._close(task.tags, str(outcome.error))
            self._fail(outcome.number, wanted[outcome.number], outcome.error)

    def _close(self, tags: Mapping[str, str], reason: str) -> None:
        """Mark the runs of a task as failed that its process could not close, and no run of the others at work."""
        for run in self._tracker.search(tags):
            if run.parent_id == self._study.run_id and run.status == "RUNNING":
                self._tracker.open_for_update(run.run_id).finish("FAILED", reason)
            elif run.stage == "train":
                self._close({Tag.EVALUATES: run.run_id}, reason)

    def _fail(self, place: int, want: Wanted, error: PipelineError) -> None:
        say(f"{want.row} failed{want.seed}: {in_one_line(error)}")
        self._failures[place] = f"{want.row}: {in_one_line(error)}{want.seed}"
