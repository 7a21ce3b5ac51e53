"""What a search is going to do."""

import dataclasses
from types import SimpleNamespace

import pytest
import yaml

from pipeline.config import TrainConfig, TuneConfig
from pipeline.config.search_ranges import Choices
from pipeline.errors import ConfigError
from pipeline.stages import train
from pipeline.stages.configure import configure
from pipeline.stages.search.plan import SearchPlan, plan_search
from pipeline.tracking.memory import MemoryTracker
from pipeline.training.setup import find_inputs
from pipeline.tuning.budget import Budget
from pipeline.tuning.space import Space


@pytest.fixture
def plan():
    inputs = SimpleNamespace(
        code_version="that of a training",
        base_sha256="base",
        prepared=SimpleNamespace(manifest=SimpleNamespace(fingerprint="data")),
    )
    space = Space({"learning_rate": Choices((1e-3, 1e-4))})
    return SearchPlan(TuneConfig(strategy="head_only"), TrainConfig(strategy="head_only"), space, Budget("trials", 2), inputs)


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_a_space_with_fewer_points_than_trials_leaves_the_budget_what_was_allowed(plan, sampler):
    config = TuneConfig(strategy="head_only", trials=5, sampler=sampler)
    small = dataclasses.replace(plan, config=config, budget=Budget.of(config))
    assert str(small.budget) == "5 trials"
    assert small.most_trials == 2
    assert sorted(point["learning_rate"] for point in small.known_points()) == [1e-4, 1e-3]
    assert dataclasses.replace(small, budget=Budget("trials", 1)).most_trials == 1
    assert dataclasses.replace(small, budget=Budget("examples", 1)).most_trials is None


def test_a_sampler_that_repeats_points_has_all_trials_to_see_them(plan):
    config = TuneConfig(strategy="head_only", trials=5, sampler="tpe")
    assert dataclasses.replace(plan, config=config, budget=Budget.of(config)).most_trials == 5


def test_another_number_of_processes_is_another_search(plan):
    two = dataclasses.replace(plan, config=dataclasses.replace(plan.config, num_processes=2))
    assert two.identity != plan.identity


def test_other_code_is_another_search(plan):
    other = SimpleNamespace(**{**vars(plan.inputs), "code_version": "that of an edited training"})
    assert dataclasses.replace(plan, inputs=other).identity != plan.identity


@pytest.mark.parametrize(
    ("strategy", "arguments", "seen"),
    [
        ("full", {}, 2 * 40),
        ("tfidf", {}, 40),
        ("linear_probe", {}, 40),
        ("setfit", {"max_pairs": 64}, 2 * 64),
        ("setfit", {"max_pairs": 32}, 2 * 32),
    ],
)
def test_a_trial_is_charged_before_what_it_is_charged_after(tiny, tmp_path, strategy, arguments, seen):
    """Pairs of what trains on pairs, and one pass of what is solved, whatever the epochs."""
    options = {
        "model": str(tiny.folder()),
        "dataset": str(tiny.csv()),
        "precision": "fp32",
        "cache_dir": str(tmp_path / "cache"),
    }
    config = TrainConfig(strategy=strategy, strategy_args=arguments, epochs=2, max_train_samples=40, **options)
    inputs = find_inputs(config)
    assert inputs.examples_of(config) == seen
    tracker = MemoryTracker()
    run = train.run(config, tracker, model_folder=tmp_path / "model")
    assert tracker.get(run.run_id).metrics["cost/examples"] == seen


@pytest.fixture
def ranges(tiny, tmp_path):
    """Names of what a search of a recipe's entry changes."""

    def ranges(entry, recipe, **given):
        options = {"model": str(tiny.folder()), "dataset": str(tiny.csv()), "precision": "fp32", "epochs": 2}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({"options": options, "strategies": recipe}))
        typed = {"recipe": str(path), "cache_dir": str(tmp_path / "cache"), "strategy": entry, **given}
        return set(plan_search(configure(TuneConfig, typed)).space.ranges)

    return ranges


def test_a_strategys_own_space_leaves_the_arguments_of_a_recipes_entry_as_they_are(ranges):
    half = {"strategy": "freeze_bottom", "strategy_args": {"bottom": 0.5}}
    assert ranges("half", {"half": half}) == {"learning_rate"}
    assert ranges("freeze_bottom", {"half": half}) == {"learning_rate", "bottom"}, "no entry"
    assert ranges("freeze_bottom", {}, strategy_args="bottom=0.5") == {"learning_rate"}, "typed"
    assert ranges("half", {"half": {**half, "space": {"bottom": [0.25, 0.5]}}}) == {"bottom"}, "the recipe says so"


def test_a_space_of_which_the_recipe_leaves_nothing_is_refused(ranges):
    with pytest.raises(ConfigError, match="The space of probe is empty: C is set by recipe recipe,"):
        ranges("probe", {"probe": {"strategy": "linear_probe", "strategy_args": {"C": 1.0}}})
