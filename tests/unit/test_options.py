import re
from pathlib import Path

import click
import pytest
import yaml

from pipeline import config as configs
from pipeline.__main__ import cli
from pipeline.config.fields import describe_fields
from pipeline.config.identity import identify
from pipeline.config.options import LONGER_SPELLINGS, STAGE_CONFIGS, click_options, render_mlproject
from pipeline.config.stage import flag
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure

MLPROJECT = Path(__file__).parents[2] / "MLproject"


def options_of(stage: str) -> dict[str, click.Option]:
    return {option.name or "": option for option in click_options(STAGE_CONFIGS[stage])}


def test_every_stage_has_a_config_and_every_option_a_help_text() -> None:
    assert list(STAGE_CONFIGS) == cli.list_commands(click.Context(cli))
    for stage, cls in STAGE_CONFIGS.items():
        described = describe_fields(cls)
        assert described, stage
        assert [name for name, field in described.items() if not field.help] == [], stage


@pytest.mark.parametrize("stage", STAGE_CONFIGS)
def test_each_field_is_an_option_that_stays_none_where_it_is_not_given(stage: str) -> None:
    options = options_of(stage)
    assert set(options) == set(describe_fields(STAGE_CONFIGS[stage])) - configs.INTERNAL
    for name, option in options.items():
        assert option.opts == [flag(name)]
        assert not option.is_flag, "MLflow hands `--force True` over"
    context = click.Command(stage, params=list(options.values())).make_context(stage, [])
    assert set(context.params.values()) == {None}


@pytest.mark.parametrize(
    ("typed", "dry_run"),
    [
        (["--dry-run"], "true"),
        (["--dry-run", "--seeds", "2"], "true"),
        (["--dry-run", "false"], "false"),
        (["--dry-run=True"], "True"),
    ],
    ids=str,
)
def test_a_switch_may_stand_alone_or_with_its_value(typed: list[str], dry_run: str) -> None:
    params = click.Command("main", params=list(options_of("main").values())).make_context("main", [*typed]).params
    assert params["dry_run"] == dry_run
    assert params["seeds"] == ("2" if "--seeds" in typed else None)


def test_help_names_the_default() -> None:
    assert "[default: 2e-05]" in str(options_of("train")["learning_rate"].help)
    assert "default" not in str(options_of("train")["data_seed"].help)


def test_help_says_how_many_seeds_there_are_without_a_recipe() -> None:
    seeds = configure(configs.MainConfig, {"dataset": "reviews.csv"}).seeds
    assert f"Without --recipe the recipe is quickstart, with {seeds} seed;" in str(options_of("main")["seeds"].help)


def test_the_committed_mlproject_is_the_rendered_one() -> None:
    assert MLPROJECT.read_text(encoding="utf-8") == render_mlproject()


def test_every_placeholder_of_mlproject_is_a_declared_parameter_and_an_option() -> None:
    entry_points = yaml.safe_load(MLPROJECT.read_text(encoding="utf-8"))["entry_points"]
    assert list(entry_points) == list(STAGE_CONFIGS)
    for stage, entry in entry_points.items():
        placeholders = re.findall(r"(--[a-z-]+) \{(\w+)\}", entry["command"])
        assert placeholders, stage
        assert {name for _, name in placeholders} == set(entry["parameters"])
        options = options_of(stage)
        assert all(options[name].opts == [typed] for typed, name in placeholders)


@pytest.mark.parametrize("stage", STAGE_CONFIGS)
def test_the_defaults_declared_in_mlproject_are_those_of_the_config(stage: str) -> None:
    parameters = yaml.safe_load(render_mlproject())["entry_points"][stage]["parameters"]
    assert parameters
    given = {name: parameter["default"] for name, parameter in parameters.items()}
    cls = STAGE_CONFIGS[stage]
    by_mlflow, by_hand = configure(cls, given), configure(cls, {})
    assert identify(by_mlflow) == identify(by_hand)


def test_a_recipe_cannot_set_what_mlproject_always_gives(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    assert configs.DECLARED
    of_study = configs.DECLARED & describe_fields(configs.MainConfig).keys()
    assert of_study == {"recipe", "seed", "strategies"}
    elsewhere = {
        "strategies": "'strategies' stands beside 'options:', not below it.",
        **dict.fromkeys(("strategy", "strategy_args"), "is of one entry: write it below 'strategies:'."),
    }
    for name in configs.DECLARED:
        recipe.write_text(f"options: {{{name}: x}}\n", encoding="utf-8")
        no_part = f"{name!r} is no part of a study: give it on the command line ({flag(name)})."
        message = elsewhere.get(name, no_part if name in of_study else f"Unknown option {name!r}.")
        with pytest.raises(ConfigError, match=re.escape(message)):
            configure(configs.MainConfig, {"recipe": str(recipe)})


def test_longer_spellings_lead_to_options_that_exist_and_are_none_themselves() -> None:
    every = {name for cls in STAGE_CONFIGS.values() for name in describe_fields(cls)}
    assert LONGER_SPELLINGS
    assert set(LONGER_SPELLINGS.values()) <= every
    assert not set(LONGER_SPELLINGS) & every
