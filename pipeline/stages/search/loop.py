"""The loop of a search: start trials until the budget is spent, end weak ones early (successive halving), resume."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline import config as configs
from pipeline.config.fields import as_dict
from pipeline.config.identity import identify
from pipeline.errors import MemoryFailureError, PipelineError, StoreError, SystemFailureError, in_one_line
from pipeline.hashing import digest
from pipeline.stages.executor import Executor, Outcome
from pipeline.stages.progress import say
from pipeline.stages.search.plan import SearchPlan
from pipeline.stages.search.trial import TrialTask
from pipeline.tracking.runs import RunLogger, Tracker
from pipeline.tracking.tags import Tag
from pipeline.training.vmapped_heads import VARIED
from pipeline.tuning.budget import Cost
from pipeline.tuning.search import Search, StudyAddress, Trial, storage_errors

_HALVES = 2


@dataclass(frozen=True)
class Halving:
    """Tells a training to end when it is not among the better half of the trials at its first, second, fourth, ... evaluation.

    Successive halving without waiting for one another (Li et al. 2020, arXiv:1810.05934). Holds no connection, so it can be
    sent to another process.
    """

    address: StudyAddress
    number: int
    metric: str

    def __call__(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether to end after an evaluation at this training step."""
        import optuna

        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_HALVES)
        with storage_errors(self.address):
            study = optuna.load_study(study_name=self.address.name, storage=self.address.open_storage(), pruner=pruner)
            trial = optuna.trial.Trial(study, study.get_trials(deepcopy=False)[self.number]._trial_id)
            steps: list[int] = trial.user_attrs.get("evaluated", [])
            if step not in steps:  # one that goes on from a checkpoint comes by again
                steps = [*steps, step]
                trial.set_user_attr("evaluated", steps)
                trial.report(metrics[self.metric], steps.index(step) + 1)
            # Kept, as optuna asks for more where the same evaluation comes again: it counts rungs, not evaluations.
            ended: int | None = trial.user_attrs.get("ended")
            if ended is None and trial.should_prune():
                trial.set_user_attr("ended", ended := step)
            return ended is not None and step >= ended


MOST_FAILURES = 5
"""A search of which so many trials failed, and none finished, begins no other: what is wrong is not in their points."""


class SearchLoop:
    """Hands trials to an executor and settles them as they end, until the budget is spent."""

    def __init__(
        self, plan: SearchPlan, search: Search, executor: Executor, tracker: Tracker, logger: RunLogger, precision: str
    ) -> None:
        self._plan, self._search, self._executor = plan, search, executor
        self._tracker, self._logger, self._precision = tracker, logger, precision
        self._trials = {trial.number: trial for trial in search.trials()}
        self._tasks: dict[int, TrialTask] = {}
        """Trials that run."""
        self._begun: dict[int, float] = {}
        """When each of them was handed in."""
        self._twins: dict[str, list[int]] = defaultdict(list)
        """Identity of a training -> trials that ask for it, the one that runs first."""
        self._short: dict[int, tuple[MemoryFailureError, Cost]] = {}
        """Trials that ran out of memory and are not settled: another one may show that the machine was to blame."""
        self._repeated: set[int] = set()
        """Trials that were trained again for that reason."""
        for trial in self._trials.values():
            if trial.state in ("complete", "pruned"):
                self._twins[self._key(self._candidate(trial))].append(trial.number)

    def run(self) -> None:
        """Go on until every trial is settled and the budget allows no other, or `MOST_FAILURES` failed and none finished."""
        waiting = [trial for trial in self._trials.values() if trial.state == "running"]
        if self._trials:
            say(f"{len(self._trials) - len(waiting)} trials are settled, {len(waiting)} go on.")
        while True:
            while len(self._tasks) < self._executor.slots and not is_hopeless(self._trials.values()):
                trial = waiting.pop(0) if waiting else self._ask()
                if trial is None:
                    break
                if not self._begin(trial):
                    waiting.insert(0, trial)
                    break
            if self._tasks:
                self._end(self._executor.wait())
            elif not (waiting := self._judge_short()):
                break
        for run in self._tracker.search({Tag.SEARCH: self._search.search_id}):
            if run.status == "RUNNING" and run.run_id != self._logger.run_id:  # opened in the moment before a kill
                self._tracker.open_for_update(run.run_id).finish("KILLED", "another run does its work")

    def _ask(self) -> Trial | None:
        """The next trial, None where the budget or the space has no more."""
        trials = self._trials.values()
        ended = any(trial.state == "over budget" for trial in trials) or self._is_exhausted()
        unsettled = sum(trial.state == "running" for trial in trials) - len(self._tasks)  # they wait for a twin
        if ended or not self._plan.budget.leaves_something(self._spent() + Cost(unsettled)):
            return None
        trial = self._search.ask()
        self._trials[trial.number] = trial
        return trial

    def _is_exhausted(self) -> bool:
        """Whether every point was drawn; of a budget that repetitions cost nothing, so that it might never end, as many."""
        size = self._plan.space.size
        drawn = [json.dumps(trial.point, sort_keys=True) for trial in self._trials.values()]
        return size is not None and len(set(drawn) if self._plan.budget.unit == "trials" else drawn) >= size

    def _begin(self, trial: Trial) -> bool:
        """Whether a trial was begun, or settled: not where it has to wait for what those that run come to."""
        number, shown = trial.number, trial.number + 1
        try:
            candidate = self._candidate(trial)
        except PipelineError as error:
            self._fail(number, error, Cost(1))
            return True
        key, cost = self._key(candidate), Cost(1, 0.0, self._plan.examples_of(candidate))
        allowed = key in self._twins or self._plan.budget.allows(self._spent() + cost)
        if not allowed and self._tasks and self._plan.budget.allows(self._settled() + cost):
            return False  # of those that run some may end early, and leave enough
        self._twins[key].append(number)
        if (first := self._twins[key][0]) != number:
            say(f"Trial {shown} draws the point of trial {first + 1} again: its result is taken over.")
            if first not in self._tasks:
                self._settle(number, self._trials[first].run_id)
            return True
        if not allowed:
            self._search.leave(number)
            self._trials[number] = dataclasses.replace(trial, state="over budget")
            return True
        of = f"/{self._plan.most_trials}" if self._plan.most_trials else ""
        say(f"Trial {shown}{of}: " + ", ".join(f"{name}={value}" for name, value in trial.point.items()))
        self._tasks[number] = TrialTask(
            number,
            candidate,
            self._logger.run_id,
            # The version is that of the plan: files may have been edited since these processes imported them.
            {
                "stage": "trial",
                Tag.SEARCH: self._search.search_id,
                Tag.TRIAL: str(shown),
                Tag.CODE_VERSION: self._plan.inputs.code_version,
            },
            self._plan.trial_folder(number),
            Halving(self._plan.address, number, self._plan.metric) if self._plan.config.pruner == "halving" else None,
            self._executor.workers,
        )
        self._begun[number] = time.monotonic()
        self._executor.submit(self._tasks[number])
        return True

    def _end(self, outcome: Outcome) -> None:
        """Settle a trial and those that ask for the same."""
        number, error = outcome.number, outcome.error
        task = self._tasks[number]
        may_be_too_large = isinstance(error, MemoryFailureError) and number not in self._repeated
        if isinstance(error, (StoreError, SystemFailureError)) and not may_be_too_large:
            raise error  # such as a full disk: it would be the end of every other trial, too, and none is to blame
        del self._tasks[number]
        key = self._key(task.config)
        if error is not None:
            # Nobody knows how far it came: its process' seconds, and all examples that it was to see.
            cost = Cost(1, time.monotonic() - self._begun[number], self._plan.examples_of(task.config))
            for twin in self._twins.pop(key):
                self._fail(twin, error, cost if twin == number else Cost(1))
            return
        for twin in self._twins[key]:
            self._settle(twin, outcome.run_id, is_first=twin == number)

    def _settle(self, number: int, run_id: str, is_first: bool = False) -> None:
        """Take what a trial came to from its run, and forget the models that cannot be the best any more."""
        run = self._tracker.get(run_id)
        score = run.metrics[f"val/{self._plan.metric}"]
        cost = Cost(1, run.metrics["cost/train_seconds"], int(run.metrics["cost/examples"])) if is_first else Cost(1)
        self._search.complete(number, score, run_id, cost, pruned=Tag.PRUNED_AT in run.tags)
        self._trials[number] = self._search.trial(number)
        self._logger.log_metrics({f"trials/val_{self._plan.metric}": score}, step=number + 1)
        keep = {self._trials[record].run_id for record in list_records(self._plan, self._trials.values())}
        for trial in self._trials.values():
            if trial.run_id and trial.run_id not in keep:
                shutil.rmtree(self._plan.trial_folder(trial.number), ignore_errors=True)

    def _fail(self, number: int, error: PipelineError, cost: Cost) -> None:
        if isinstance(error, MemoryFailureError):
            self._short[number] = (error, cost)
            self._trials[number] = dataclasses.replace(self._trials[number], state="failed", reason=str(error), cost=cost)
        else:
            self._search.fail(number, str(error), cost)
            self._trials[number] = self._search.trial(number)
        say(f"  trial {number + 1} failed: {in_one_line(error)}")
        for run in self._tracker.search({Tag.SEARCH: self._search.search_id, Tag.TRIAL: str(number + 1)}):
            if run.status == "RUNNING":
                self._tracker.open_for_update(run.run_id).finish("FAILED", str(error))

    def _judge_short(self) -> list[Trial]:
        """Trials that ran out of memory and are trained again, as one that needs as much finished; the others have failed."""
        enough = [self._candidate(trial) for trial in self._trials.values() if trial.state == "complete"]
        again = []
        for number, (error, cost) in self._short.items():
            needed = self._candidate(self._trials[number])
            if any(_needs_as_much(candidate, needed) for candidate in enough):
                say(f"Trial {number + 1} ran out of memory, and one that needs as much finished: it is trained again.")
                again.append(dataclasses.replace(self._trials[number], state="running", reason="", cost=Cost(1)))
            else:
                self._search.fail(number, str(error), cost)
        self._short.clear()
        self._repeated |= {trial.number for trial in again}
        self._trials |= {trial.number: trial for trial in again}
        return again

    def _candidate(self, trial: Trial) -> configs.TrainConfig:
        return self._plan.candidate(trial.point, self._precision)

    def _spent(self) -> Cost:
        """What settled trials have cost, and what those that run are going to see."""
        examples = sum(self._plan.examples_of(task.config) for task in self._tasks.values())
        return self._settled() + Cost(len(self._tasks), 0.0, examples)

    def _settled(self) -> Cost:
        return sum((trial.cost for trial in self._trials.values() if trial.state not in ("over budget", "running")), Cost())

    @staticmethod
    def _key(candidate: configs.TrainConfig) -> str:
        return digest(identify(candidate))


def _needs_as_much(candidate: configs.TrainConfig, other: configs.TrainConfig) -> bool:
    """Whether a training needs as much memory as another, and differs in nothing but batches and options of the optimizer."""
    free = VARIED - {"dropout", "epochs"}  # a later epoch may train more
    alike = all(value == getattr(other, name) for name, value in as_dict(candidate).items() if name not in free)
    return alike and candidate.batch_size >= other.batch_size


def is_hopeless(trials: Iterable[Trial]) -> bool:
    """Whether `MOST_FAILURES` trials in a row have failed, and no trial finished."""
    states = [trial.state for trial in trials]
    return states.count("failed") >= MOST_FAILURES and not {"complete", "pruned"} & set(states)


def list_records(plan: SearchPlan, trials: Iterable[Trial]) -> list[int]:
    """Numbers of the trials that are better than all before them: the best is among them wherever the budget ends."""
    records: list[int] = []
    best: float | None = None
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.state == "complete" and trial.score is not None:
            better = best is None or (trial.score < best if plan.lower_is_better else trial.score > best)
            if better:
                records.append(trial.number)
                best = trial.score
    return records
