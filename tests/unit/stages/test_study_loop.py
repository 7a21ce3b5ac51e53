"""In which order trainings, each with its test, are begun, and what becomes of those that fail; nothing is trained."""

from types import SimpleNamespace

import pytest

from pipeline.config import MainConfig
from pipeline.errors import ProcessLostError, TrainingError
from pipeline.stages.executor import Outcome
from pipeline.stages.study import loop
from pipeline.stages.study.loop import StudyLoop, Wanted
from pipeline.stages.study.tags import also_called
from pipeline.stages.study.tasks import TrainingTask
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.tags import Tag


class Executor:
    """Ends the oldest task first, or the newest. What is called bad fails, with its run open; untested, as its test begins."""

    name = "fake"

    def __init__(self, tracker, slots, newest_first=False):
        self.tracker, self.slots, self.workers, self.newest_first = tracker, slots, slots, newest_first
        self.begun, self.at_work, self.most = [], [], 0

    def submit(self, task):
        self.begun.append(task.label)
        if isinstance(task, TrainingTask):
            run = self.tracker.start(task.label, task.parent_id, task.tags)
        else:
            run = self.tracker.open_for_update(task.config.run_id)
        self.at_work.append((task, run))
        self.most = max(self.most, len(self.at_work))

    def wait(self):
        task, run = self.at_work.pop(-1 if self.newest_first else 0)
        if task.label.startswith("bad"):
            return Outcome(task.number, error=TrainingError("nan"))
        if isinstance(task, TrainingTask):
            run.finish("FINISHED")
            if task.label.startswith("untested"):
                self.tracker.start("test", task.parent_id, task.test_of(run.run_id).tags)
                return Outcome(task.number, error=ProcessLostError("killed"))
        self.tracker.open_for_update(run.run_id).set_tags({"tested": "yes"})
        return Outcome(task.number, run_id=run.run_id)


def wanted(name, identity, seed=1):
    config = SimpleNamespace(precision="fp32", num_processes=1, seed=seed, title=name)
    inputs = SimpleNamespace(identity=identity, config=config, code_version="code", config_hash=lambda precision: identity)
    return Wanted(inputs, name, f" (seed {seed})", {})


@pytest.fixture
def carry_out(monkeypatch, tmp_path):
    """What is wanted, by so many workers: the executor, the tracker and the failures."""
    tracker = MemoryTracker()
    monkeypatch.setattr(loop, "lock_of", lambda inputs: tmp_path / "lock")
    monkeypatch.setattr(loop, "drop_left_behind", lambda inputs, run_id: None)
    monkeypatch.setattr(loop.evaluate, "is_done", lambda config, run, tracker: "tested" in run.tags)

    def find_finished(store, inputs, precision, *, tuned, below, workers):
        there = store.search({"config_hash": inputs.identity})
        return next((run for run in there if run.status == "FINISHED"), None)

    monkeypatch.setattr(loop, "find_finished", find_finished)

    def carry_out(rows, slots, newest_first=False):
        executor, study = Executor(tracker, slots, newest_first), tracker.start("study")
        plan = SimpleNamespace(config=MainConfig(seeds=2))
        failures = StudyLoop(plan, executor, tracker, study).run(rows)
        return executor, tracker, failures

    return carry_out


ROWS = [wanted("full", "f1"), wanted("full", "f2", 2), wanted("lora", "l1"), wanted("lora", "l2", 2)]


def test_one_worker_trains_and_tests_one_after_the_other(carry_out):
    executor, _, failures = carry_out(ROWS, 1)
    assert executor.begun == [row.label for row in ROWS]
    assert (executor.most, failures) == (1, {})


@pytest.mark.parametrize("newest_first", [False, True])
def test_several_are_begun_in_the_same_order(carry_out, newest_first):
    executor, tracker, failures = carry_out(ROWS, 3, newest_first)
    assert executor.begun == [row.label for row in ROWS]
    assert (executor.most, failures) == (3, {})
    assert {run.tags[Tag.WORKERS] for run in tracker.search({"stage": "train"})} == {"3"}


def test_what_is_equal_to_a_training_at_work_waits_for_it_and_reuses_it(carry_out, capsys):
    rows = [wanted("full", "same"), wanted("auto", "same"), wanted("lora", "l1")]
    executor, tracker, failures = carry_out(rows, 3)
    assert executor.begun == ["full (seed 1)", "lora (seed 1)"]
    assert "auto (seed 1): reused, run" in capsys.readouterr().out
    assert failures == {}
    [training] = tracker.search({"config_hash": "same"})
    assert also_called(tracker.get(training.parent_id), tracker) == {training.run_id: ["auto"]}


def test_what_is_trained_and_lacks_its_test_is_tested(carry_out):
    rows = [wanted("untested", "u1"), wanted("lora", "l1")]
    _, tracker, failures = carry_out(rows, 1)
    assert failures == {0: "untested: killed (seed 1)"}
    [training] = tracker.search({"config_hash": "u1"})
    [test] = tracker.search({Tag.EVALUATES: training.run_id})
    assert (training.status, test.status, test.tags["status_detail"]) == ("FINISHED", "FAILED", "killed")
    executor, _, failures = carry_out(rows, 1)
    assert (executor.begun, failures) == (["test of untested (seed 1)"], {})


def test_one_that_fails_closes_its_own_run_and_stops_no_other(carry_out):
    rows = [wanted("full", "f1"), wanted("bad", "b1"), wanted("lora", "l1"), wanted("bad", "b2", 2)]
    _, tracker, failures = carry_out(rows, 2, newest_first=True)
    assert failures == {1: "bad: nan (seed 1)", 3: "bad: nan (seed 2)"}
    status = {run.tags["config_hash"]: run.status for run in tracker.search({"stage": "train"})}
    assert status == {"f1": "FINISHED", "b1": "FAILED", "l1": "FINISHED", "b2": "FAILED"}
