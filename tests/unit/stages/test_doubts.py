"""A study says where its settings were chosen for something else."""

from types import SimpleNamespace

import pytest

from pipeline.config import MainConfig
from pipeline.recipes.recipe import load_recipe, named_models
from pipeline.stages.configure import configure, configure_strategy
from pipeline.stages.study.plan import StudyPlan, find_doubts
from pipeline.strategies.base import create_strategy


def doubts(strategies: list[str], **given: str) -> str:
    config = configure(MainConfig, {"recipe": "quickstart", "strategies": ",".join(strategies), **given})
    plans = [
        SimpleNamespace(config=configure_strategy(config, name), strategy=create_strategy(name, {})) for name in strategies
    ]
    return "\n".join(find_doubts(StudyPlan(config, "fp32", tuple(plans))))  # type: ignore[arg-type]


def test_the_recipes_own_study_needs_no_note() -> None:
    assert doubts(["full", "lora"]) == ""
    assert doubts(["full", "lora"], model="minilm", dataset="rotten_tomatoes") == ""
    assert doubts(["full", "lora"], models="minilm") == ""


def test_a_model_of_several_that_the_recipe_names_is_no_other_one() -> None:
    rates = {"recipe": "encoders", "tune": "false"}
    other = "were chosen for another model. "
    recipe = load_recipe("encoders")
    assert named_models(recipe.options) == ["minilm"]
    assert other not in doubts(list(recipe.strategies), **rates, model="minilm")
    assert other in doubts(list(recipe.strategies), **rates, model="bert-base-uncased")
    assert other in doubts(list(recipe.strategies), **rates, models="minilm,bert-base-uncased")


@pytest.mark.parametrize("given", [{"dataset": "imdb"}, {"model": "bert-base-uncased"}])
def test_rates_that_were_chosen_for_other_data_or_another_model_are_said(given: dict[str, str]) -> None:
    text = doubts(["full", "lora"], **given)
    assert f"were chosen for another {next(iter(given))}. For a fair comparison add --tune true." in text
    assert doubts(["full", "lora"], **given, tune="true") == ""
    assert doubts(["full", "lora"], **given, learning_rate="1e-4") == ""


def test_a_strategy_without_a_rate_of_its_own_is_named() -> None:
    text = doubts(["full", "bottleneck", "ia3"])
    assert "Recipe quickstart knows no learning rate for bottleneck, ia3" in text
    assert doubts(["bottleneck"], learning_rate="1e-3") == ""


def test_files_of_the_users_own_are_another_dataset() -> None:
    assert "were chosen for another dataset. " in doubts(["full", "lora"], train_file="mine.csv")
    files = {"train_file": "mine.csv", "test_file": "theirs.csv", "model": "bert-base-uncased"}
    assert "were chosen for another model and dataset. " in doubts(["full", "lora"], **files)
