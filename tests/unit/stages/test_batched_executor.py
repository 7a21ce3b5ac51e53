"""All trials in one process; here it is no process."""

from types import SimpleNamespace

import pytest

from pipeline.config import TrainConfig, TuneConfig
from pipeline.errors import ProcessLostError, TrainingError
from pipeline.stages.executor import Work
from pipeline.stages.executors import auto
from pipeline.stages.executors.batched import BatchedExecutor
from pipeline.stages.search import trial
from pipeline.stages.search.trial import TrialTask, run_trials_together
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.tags import Tag


class WorkerProcess:
    def __init__(self, found):
        self.found = found

    def result(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class WorkerProcesses:
    """Calls at once; dies as often as told."""

    def __init__(self, deaths=0):
        self.deaths, self.calls = deaths, []

    def start(self, function, tasks):
        self.calls.append([task.number for task in tasks])
        if len(self.calls) <= self.deaths:
            return WorkerProcess(ProcessLostError("killed"))
        return WorkerProcess(function(tasks))


def together(size):
    """Of so many trials of a search."""
    return SimpleNamespace(size=size, run=run_trials_together)


@pytest.fixture
def tracker(monkeypatch):
    tracker = MemoryTracker()
    monkeypatch.setattr(trial, "open_tracker", lambda: tracker)
    return tracker


@pytest.fixture
def trained(monkeypatch, tracker):
    """Names the points that were trained; a rate of 9 fails."""
    trained = []

    def train_heads_together(points, parent_id, tags, model_folders):
        results = []
        for point, own, folder in zip(points, tags, model_folders, strict=True):
            trained.append(point.learning_rate)
            assert not folder.exists(), "of an earlier attempt"
            if point.learning_rate == 9:
                results.append(TrainingError("nan"))
                continue
            run = tracker.start("trial", parent_id, own)
            run.finish("FINISHED")
            results.append(type("Result", (), {"run_id": run.run_id})())
        return results

    monkeypatch.setattr(trial, "train_heads_together", train_heads_together)
    return trained


def make_tasks(folder, rates=(1, 9, 3)):
    return [
        TrialTask(
            number, TrainConfig(learning_rate=rate), "parent", {Tag.SEARCH: "s", Tag.TRIAL: str(number)}, folder / str(number)
        )
        for number, rate in enumerate(rates)
    ]


def outcomes(executor, tasks):
    for task in tasks:
        executor.submit(task)
    return [executor.wait() for _ in tasks]


def test_trials_are_handed_back_one_by_one_and_one_that_fails_fails_alone(tmp_path, tracker, trained):
    processes = WorkerProcesses()
    found = outcomes(BatchedExecutor(together(3), processes), make_tasks(tmp_path))
    assert processes.calls == [[0, 1, 2]]
    assert [outcome.number for outcome in found] == [0, 1, 2]
    assert [bool(outcome.run_id) for outcome in found] == [True, False, True]
    assert isinstance(found[1].error, TrainingError)


def test_what_is_handed_in_meanwhile_trains_when_all_were_handed_back(tmp_path, tracker, trained):
    processes = WorkerProcesses()
    executor = BatchedExecutor(together(2), processes)
    first, second, third = make_tasks(tmp_path, (1, 2, 3))
    executor.submit(first)
    executor.submit(second)
    assert executor.wait().number == 0
    executor.submit(third)
    assert [executor.wait().number, executor.wait().number] == [1, 2]
    assert processes.calls == [[0, 1], [2]]


def test_a_lost_process_loses_all_and_finished_trials_are_not_trained_again(tmp_path, tracker, trained):
    tasks = make_tasks(tmp_path, (1, 2, 3))
    done = tracker.start("trial", "parent", tasks[1].tags)
    done.finish("FINISHED")
    tasks[0].model_folder.mkdir(parents=True)
    executor = BatchedExecutor(together(3), WorkerProcesses(deaths=1))
    assert all(isinstance(outcome.error, ProcessLostError) for outcome in outcomes(executor, tasks))
    found = outcomes(executor, tasks)
    assert trained == [1, 3]
    assert found[1].run_id == done.run_id
    assert all(outcome.run_id for outcome in found)


@pytest.mark.parametrize(("workers", "lines"), [(2, 1), (1, 0)])
def test_auto_says_where_workers_have_no_say(capsys, workers, lines):
    asked = []
    trials = SimpleNamespace(size=3, run=run_trials_together, why_not=lambda *_: asked.append(1) or "")
    assert auto.create(Work(TuneConfig(workers=workers), trials), WorkerProcesses()).slots == 3
    assert capsys.readouterr().out.count(f"--workers {workers} is ignored") == lines
    assert len(asked) == 1, "it starts a process that builds the model"
