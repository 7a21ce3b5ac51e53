"""Whether a search ends; nothing is trained."""

import dataclasses
from types import SimpleNamespace

import pytest

from pipeline.config import TrainConfig, TuneConfig
from pipeline.config.search_ranges import Choices, LogUniform
from pipeline.errors import MemoryFailureError, PipelineError, SystemFailureError, TrainingError
from pipeline.stages.executor import Outcome
from pipeline.stages.search import loop
from pipeline.stages.search.loop import MOST_FAILURES, SearchLoop
from pipeline.stages.search.plan import SearchPlan
from pipeline.stages.search.report import find_winner
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.tags import Tag
from pipeline.tuning.budget import Budget, Cost
from pipeline.tuning.search import Trial, open_search
from pipeline.tuning.space import Space

EXAMPLES = 10
SECONDS = 4.0
RATES = LogUniform(1e-5, 1e-3)
FAILURE = TrainingError("nan")


class Plan(SearchPlan):
    name = "full-1"


class Executor:
    """One trial after another; those of the given numbers finish, all others fail, as those do that fail once, at first."""

    name, slots, workers = "fake", 1, 1

    def __init__(self, tracker, clock, finish, error, once):
        self.tracker, self.clock, self.finish, self.error, self.tasks = tracker, clock, finish, error, []
        self.once = set(once)

    def submit(self, task):
        assert task.number < 30, "a search without end"
        self.tasks.append(task)

    def wait(self):
        task = self.tasks.pop(0)
        self.clock["now"] += SECONDS
        run = self.tracker.start("trial", task.parent_id, task.tags)
        if task.number not in self.finish or task.number in self.once:
            self.once.discard(task.number)
            run.finish("FAILED", "nan")
            return Outcome(task.number, error=self.error)
        run.log_metrics({"val/accuracy": 0.5, "cost/train_seconds": SECONDS, "cost/examples": EXAMPLES})
        run.finish("FINISHED")
        return Outcome(task.number, run_id=run.run_id)


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """The trials of a search within a budget, and its plan."""
    clock = {"now": 0.0}
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock["now"]))

    def searched(budget, finish=(), sampler="random", rates=RATES, error=FAILURE, once=(), slots=1, planned=EXAMPLES, **more):
        config = TuneConfig(strategy="full", epochs=1, cache_dir=str(tmp_path), sampler=sampler)
        base = TrainConfig(strategy="full", epochs=1, cache_dir=str(tmp_path))
        space = Space({"learning_rate": rates, **more})
        plan = Plan(config, base, space, budget, SimpleNamespace(examples_of=lambda _: planned, code_version="code"))
        plan.folder.mkdir(parents=True)
        tracker = MemoryTracker()
        search = open_search(plan.address, space, "identity", sampler, 1, False)
        executor = Executor(tracker, clock, finish, error, once)
        executor.slots = slots
        loop = SearchLoop(plan, search, executor, tracker, tracker.start("tune", None, {}), "fp32")
        loop.run()
        return plan, search.trials()

    return searched


@pytest.mark.parametrize("budget", [Budget("train_seconds", 1e6), Budget("examples", 10**6), Budget("trials", 12)])
def test_a_search_whose_trials_all_fail_ends(searched, budget):
    plan, trials = searched(budget)
    assert [trial.state for trial in trials] == ["failed"] * MOST_FAILURES
    assert all(trial.cost == Cost(1, SECONDS, EXAMPLES) for trial in trials)
    with pytest.raises(PipelineError, match=r"No trial of full finished\. .*after 5 trials in a row had failed\. trial 1: nan"):
        find_winner(plan, trials, "run", "fp32")


@pytest.mark.parametrize("budget", [Budget("train_seconds", 8 * SECONDS), Budget("examples", 8 * EXAMPLES)])
def test_trials_that_fail_are_paid_for(searched, budget):
    plan, trials = searched(budget, finish={1})
    assert [trial.state for trial in trials] == ["failed", "complete"] + ["failed"] * 6
    assert find_winner(plan, trials, "run", "fp32").best_run_id == trials[1].run_id


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_trials_that_may_end_early_are_waited_for_before_one_is_over_budget(searched, slots):
    """Each may see 4 times as many examples as it comes to: so 4 fit, and a fifth does not, however many run at once."""
    _, trials = searched(Budget("examples", 7 * EXAMPLES), range(9), slots=slots, planned=4 * EXAMPLES)
    assert [trial.state for trial in trials] == ["complete"] * 4 + ["over budget"]


def test_a_full_disk_ends_the_search_and_no_trial_is_to_blame(searched):
    with pytest.raises(SystemFailureError, match="The disk is full"):
        searched(Budget("trials", 2), error=SystemFailureError("The disk is full."))


TOO_LARGE = MemoryFailureError("It does not fit.")


def test_a_trial_that_does_not_fit_into_memory_has_failed(searched):
    batches = Choices((64, 32))
    _, trials = searched(Budget("trials", 2), {1}, "grid", Choices((1e-4,)), TOO_LARGE, batch_size=batches)
    assert [(trial.point["batch_size"], trial.state, trial.reason) for trial in trials] == [
        (64, "failed", "It does not fit."),
        (32, "complete", ""),
    ]


def test_a_trial_that_ran_out_of_memory_is_trained_again_where_one_that_needs_as_much_finished(searched, capsys):
    batches = Choices((32, 64))
    _, trials = searched(Budget("trials", 2), {0, 1}, "grid", Choices((1e-4,)), TOO_LARGE, once={0}, batch_size=batches)
    assert [(trial.point["batch_size"], trial.state) for trial in trials] == [(32, "complete"), (64, "complete")]
    assert "Trial 1 ran out of memory, and one that needs as much finished: it is trained again." in capsys.readouterr().out
    assert [trial.cost for trial in trials] == [Cost(1, SECONDS, EXAMPLES)] * 2


def test_memory_that_does_not_suffice_again_ends_the_search_and_the_trial_is_left_to_the_next_command(searched):
    with pytest.raises(MemoryFailureError, match="It does not fit"):
        searched(Budget("trials", 2), finish={1}, error=TOO_LARGE)


@pytest.mark.parametrize(
    ("finished", "enough"),
    [
        ({"learning_rate": 1e-5, "batch_size": 64}, True),
        ({"batch_size": 16}, False),
        ({"epochs": 2}, False),
        ({"dropout": 0.0}, False),
        ({"max_length": 64}, False),
    ],
    ids=str,
)
def test_which_training_shows_that_there_is_memory_for_another(finished, enough):
    wanted = TrainConfig(strategy="full", epochs=1, batch_size=32, max_length=128, dropout=0.1)
    assert loop._needs_as_much(dataclasses.replace(wanted, **finished), wanted) is enough


def test_trials_that_all_run_out_of_memory_have_failed(searched):
    _, trials = searched(Budget("trials", 12), error=TOO_LARGE)
    assert [trial.state for trial in trials] == ["failed"] * MOST_FAILURES


def test_why_a_trial_failed_is_said_though_it_cost_more_than_the_budget(searched):
    plan, trials = searched(Budget("train_seconds", SECONDS / 2))
    with pytest.raises(PipelineError, match=r"No trial of full finished\. trial 1: nan"):
        find_winner(plan, trials, "run", "fp32")


def make_trial(number, state):
    return Trial(number, {"learning_rate": 1e-4}, state, 0.5, f"run {number}", cost=Cost(1, SECONDS, EXAMPLES))


@pytest.mark.parametrize(
    ("budget", "states", "message"),
    [
        (EXAMPLES, ("pruned", "complete"), "All trials that the budget of 10 examples pays for were ended early."),
        (EXAMPLES - 1, ("pruned", "complete"), "One trial alone costs more than the budget of 9 examples."),
    ],
)
def test_why_no_trial_won_is_said_by_what_happened(searched, budget, states, message):
    plan, _ = searched(Budget("examples", budget))
    with pytest.raises(PipelineError, match=message):
        find_winner(plan, [make_trial(number, state) for number, state in enumerate(states)], "run", "fp32")


def test_what_was_spent_is_recorded_to_the_last_example(searched):
    plan, _ = searched(Budget("examples", 10**7))
    dear = dataclasses.replace(make_trial(0, "complete"), cost=Cost(1, 4321.0625, 1_234_567))
    tags = find_winner(plan, [dear], "run", "fp32").tags
    assert (tags[Tag.BUDGET_EXAMPLES], tags[Tag.BUDGET_TRAIN_SECONDS]) == ("1234567", "4321.0625")


def test_a_sampler_that_repeats_points_goes_on_until_it_has_seen_all(searched):
    rates = Choices((1e-5, 1e-4, 1e-3, 1e-2))
    _, trials = searched(Budget("trials", 29), finish=range(30), sampler="tpe", rates=rates)
    points = [trial.point["learning_rate"] for trial in trials]
    assert set(points) == {1e-5, 1e-4, 1e-3, 1e-2}
    assert len(points) > 4, "with this seed one comes twice before all have come"
    assert points[-1] not in points[:-1]
