"""A task whose process is lost is handed out again; executors are made up."""

import atexit
import gc
from types import SimpleNamespace

import pytest

from pipeline.config import TuneConfig
from pipeline.errors import ProcessLostError, TrainingError
from pipeline.registry import EXECUTORS
from pipeline.stages.executor import Outcome, PersistentExecutor, Work, create_executor
from pipeline.stages.processes import collector
from pipeline.stages.processes.workers import WorkerProcesses


class Executor:
    """Ends tasks in their order; loses each as often as told."""

    name, slots, workers = "fake", 2, 2

    def __init__(self, losses):
        self.losses, self.tasks = dict(losses), []

    def submit(self, task):
        self.tasks.append(task)

    def wait(self):
        task = self.tasks.pop(0)
        if self.losses.get(task.number, 0):
            self.losses[task.number] -= 1
            return Outcome(task.number, error=ProcessLostError("killed"))
        return Outcome(task.number, run_id=f"run {task.number}, {task.times}")


def task(number, times=0):
    return SimpleNamespace(number=number, label=f"task {number}", times=times, again=lambda: task(number, times + 1))


@pytest.mark.parametrize(("losses", "ended"), [(0, "run 1, 0"), (1, "run 1, 1"), (2, "run 1, 2"), (3, "")])
def test_a_lost_task_is_handed_out_again_twice_at_most(losses, ended, capsys):
    executor = PersistentExecutor(Executor({1: losses}))
    executor.submit(task(1))
    executor.submit(task(2))
    outcomes = {outcome.number: outcome for outcome in (executor.wait(), executor.wait())}
    assert outcomes[1].run_id == ended
    assert outcomes[2].run_id == "run 2, 0"
    assert isinstance(outcomes[1].error, ProcessLostError) == (losses == 3)
    assert capsys.readouterr().out.count("the process of task 1 was killed") == min(losses, 2)


def test_a_number_that_comes_again_has_its_chances_again():
    executor = PersistentExecutor(Executor({1: 2}))
    executor.submit(task(1))
    assert executor.wait().run_id == "run 1, 2"
    executor._executor.losses[1] = 2
    executor.submit(task(1))
    assert executor.wait().run_id == "run 1, 2"


def test_a_task_that_fails_by_itself_is_not_repeated():
    fake = Executor({})
    fake.wait = lambda: Outcome(fake.tasks.pop(0).number, error=TrainingError("nan"))
    executor = PersistentExecutor(fake)
    executor.submit(task(1))
    assert isinstance(executor.wait().error, TrainingError)


def test_what_tasks_leave_behind_is_collected(monkeypatch):
    monkeypatch.setattr(
        type(EXECUTORS), "load", lambda self, name: SimpleNamespace(create=lambda work, processes: Executor({}))
    )
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(atexit, "register", lambda function: None)
    usual = gc.get_threshold()
    collector.pause()  # as the command line does before it imports anything
    assert gc.get_threshold() != usual
    create_executor(Work(TuneConfig()), WorkerProcesses())
    assert gc.get_threshold() == usual
