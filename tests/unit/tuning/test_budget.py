import pytest

from pipeline.config import TuneConfig
from pipeline.errors import ConfigError
from pipeline.tuning.budget import Budget, Cost

COSTS = [Cost(1, 10.0, 100), Cost(1, 5.0, 300), Cost(1, 1.0, 50)]


def test_another_budget_takes_the_place_of_a_recipes_trials_and_of_none_that_was_typed():
    assert Budget.of(TuneConfig(trials=5, budget_seconds=60)) == Budget("train_seconds", 60)
    with pytest.raises(ConfigError, match="--budget-seconds and --trials: which budget"):
        Budget.of(TuneConfig(trials=5, budget_seconds=60, explicit=("trials", "budget_seconds")))
    with pytest.raises(ConfigError, match="--budget-seconds and --budget-examples"):
        Budget.of(TuneConfig(budget_seconds=60, budget_examples=5))


def test_a_budget_that_was_typed_beats_every_one_of_the_recipe():
    assert Budget.of(TuneConfig(trials=5, budget_seconds=60, explicit=("trials",))) == Budget("trials", 5)
    both = TuneConfig(budget_seconds=60, budget_examples=500, explicit=("budget_examples",))
    assert Budget.of(both) == Budget("examples", 500)


@pytest.mark.parametrize(
    ("budget", "paid"),
    [
        (Budget("trials", 2), 2),
        (Budget("trials", 9), 3),
        (Budget("train_seconds", 15), 2),
        (Budget("train_seconds", 14.9), 1),
        (Budget("examples", 399), 1),
        (Budget("examples", 450), 3),
        (Budget("examples", 1), 0),
    ],
)
def test_trials_are_paid_for_in_the_order_in_which_they_were_drawn(budget, paid):
    assert budget.count_within(COSTS) == paid


def test_a_cheap_trial_after_one_too_dear_does_not_count():
    assert Budget("examples", 160).count_within(COSTS) == 1


def test_a_budget_is_shown_with_its_unit():
    assert [str(Budget("trials", 1)), str(Budget("train_seconds", 90.5)), str(Budget("examples", 1_000_000))] == [
        "1 trial",
        "90.5 seconds",
        "1,000,000 examples",
    ]
