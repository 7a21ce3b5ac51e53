import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import config as configs
from pipeline.config.identity import identify, settings_hash
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure, configure_strategy, replace_options

RECIPE = """
options: {learning_rate: 1e-4, batch_size: 16, epochs: 2}
strategies:
  partial: {learning_rate: 5e-4, strategy_args: {top_k: 2}}
  lora: {strategy_args: {r: 4, alpha: 8}}
"""


@pytest.fixture
def recipe(write: Callable[[str, str | bytes], Path]) -> str:
    return str(write("mine.yaml", RECIPE))


def train(**given: object) -> configs.TrainConfig:
    return configure(configs.TrainConfig, given)


def test_explicit_beats_recipe_beats_default(recipe: str) -> None:
    config = train(recipe=recipe, epochs="5")
    assert config.epochs == 5
    assert config.batch_size == 16
    assert config.weight_decay == configs.TrainConfig().weight_decay
    assert config.learning_rate == 1e-4, "YAML reads 1e-4 as a text"


def test_a_strategys_own_values_beat_the_recipes_and_explicit_ones_beat_both(recipe: str) -> None:
    assert train(recipe=recipe, strategy="partial").learning_rate == 5e-4
    assert train(recipe=recipe, strategy="full").learning_rate == 1e-4
    assert train(recipe=recipe, strategy="partial", learning_rate="3e-5").learning_rate == 3e-5


@pytest.mark.parametrize(
    ("given", "r", "alpha"), [("", 4, 8.0), ("r=16", 16, 8.0), ("alpha=2", 4, 2.0), ("r=1,alpha=3", 1, 3.0)]
)
def test_strategy_arguments_merge_key_by_key(recipe: str, given: str, r: int, alpha: float) -> None:
    arguments = train(recipe=recipe, strategy="lora", strategy_args=given).strategy_args
    assert (arguments["r"], arguments["alpha"]) == (r, alpha)
    assert arguments["lora_dropout"] == 0.0, "defaults are recorded, too"


def test_an_empty_text_means_not_given(recipe: str) -> None:
    given = {"recipe": recipe, "strategy": "", "strategy_args": "", "learning_rate": "", "max_train_samples": ""}
    assert train(**given) == train(recipe=recipe)
    assert train(recipe="").recipe == "quickstart"
    study = configure(configs.MainConfig, {"recipe": recipe, "strategies": "", "epochs": "", "seed": "7"})
    assert study.strategies == ()
    assert set(study.explicit) == {"recipe", "seed"}


def test_mistakes_in_options_and_in_strategy_arguments_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        train(strategy="partial", strategy_args="top_k=none,depth=2", epochs="0", dropout="1.5")
    text = str(caught.value)
    assert text.startswith("4 mistakes:")
    for part in (
        "Unknown argument of strategy 'partial': 'depth'.",
        "partial: top_k: got 'none'. Give a whole number at least 1 (default 4).",
        "--epochs: got '0'. Give a whole number at least 1 (default 3).",
        "--dropout: got '1.5'. Give a number at least 0 and less than 1 (default 0.1).",
    ):
        assert part in text


@pytest.mark.parametrize("arguments", ["top_k=2", "", "top_k=[", 4])
def test_an_unknown_strategy_is_reported_beside_other_mistakes(arguments: object) -> None:
    with pytest.raises(ConfigError) as caught:
        train(strategy="lorra", strategy_args=arguments, epochs="x")
    assert len(caught.value.messages) == 2
    assert "--epochs" in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "messages"),
    [
        ("fused_lore", [r"--acceleration: Unknown acceleration 'fused_lore'\. Did you mean 'fused_lora'\? Available: "]),
        ("x,first_token,y", ["--acceleration: Unknown acceleration 'x'", "--acceleration: Unknown acceleration 'y'"]),
        (
            "auto,first_token",
            [r"--acceleration: got 'auto,first_token'\. Give auto, off, or names separated by commas: .*fused"],
        ),
        (",", [r"--acceleration: got ''\. Give auto, off, or names"]),
    ],
)
def test_an_acceleration_that_is_not_there_is_refused(typed: str, messages: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(configs.TrainConfig, {"acceleration": typed})
    assert len(caught.value.messages) == len(messages)
    for found, expected in zip(caught.value.messages, messages, strict=True):
        assert re.match(expected, found)


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown option 'epoch'\. Did you mean 'epochs'\?"):
        train(epoch=3)


def test_what_another_stage_does_not_take_from_a_recipe_is_left_aside(recipe: str) -> None:
    assert configure(configs.PrepareDataConfig, {"recipe": recipe}).max_length == 128
    assert configure(configs.CompareConfig, {"study": "abc"}).study == "abc"


def test_a_study_hands_each_strategy_the_recipes_part_unless_it_was_given_explicitly(recipe: str) -> None:
    study = configure(configs.MainConfig, {"recipe": recipe, "batch_size": "4", "cache_dir": "there"})
    partial = configure_strategy(study, "partial")
    assert (partial.batch_size, partial.learning_rate, partial.strategy_args) == (4, 5e-4, {"top_k": 2})
    assert partial.cache_dir == "there"
    assert configure_strategy(study, "full").learning_rate == 1e-4
    over = configure(configs.MainConfig, {"recipe": recipe, "learning_rate": "1e-3"})
    assert configure_strategy(over, "partial").learning_rate == 1e-3


def test_replaced_options_go_to_the_option_or_to_the_strategy_and_are_checked() -> None:
    config = train(strategy="lora", strategy_args="alpha=4")
    changed = replace_options(config, {"learning_rate": "3e-4", "r": "2"})
    assert changed.learning_rate == 3e-4
    assert (changed.strategy_args["r"], changed.strategy_args["alpha"]) == (2, 4.0)
    assert config.strategy_args["r"] == 8, "the original is left as it was"
    for wrong, message in (({"rank": 2}, "Unknown argument of strategy 'lora': 'rank'"), ({"epochs": 0}, "--epochs: got 0")):
        with pytest.raises(ConfigError, match=message):
            replace_options(config, wrong)


def test_data_are_named_as_a_whole_or_by_files_and_what_was_typed_beats_the_recipe(
    write: Callable[[str, str | bytes], Path],
) -> None:
    whole = str(write("whole.yaml", "options: {dataset: sst2, split: random}"))
    files = str(write("files.yaml", "options: {train_file: a.csv, test_file: b.csv}"))
    config = train(recipe=whole, train_file="x.csv", validation_file="y.csv")
    assert (config.dataset, config.train_file, config.split) == ("x.csv", "x.csv", "official")
    assert train(recipe=whole, train_file="x.csv").split == "random"
    config = train(recipe=files, dataset="imdb")
    assert (config.dataset, config.train_file, config.test_file, config.split) == ("imdb", None, None, "random")
    assert (train(recipe=files).dataset, train(recipe=files).split) == ("a.csv", "official")
    study = configure(configs.MainConfig, {"recipe": whole, "train_file": "x.csv", "test_file": "y.csv", "labels": "b,a"})
    plan = configure_strategy(study, "lora")
    assert (plan.dataset, plan.test_file, plan.split, plan.labels) == ("x.csv", "y.csv", "official", ("b", "a"))
    assert replace_options(plan, {"epochs": 1}).test_file == "y.csv"


@pytest.mark.parametrize("given", [{"train_file": "x.csv", "test_file": "y.csv"}, {"dataset": "imdb", "split": "official"}])
def test_parts_that_are_there_are_not_cut_by_the_recipes_ratios(
    write: Callable[[str, str | bytes], Path], given: dict[str, str]
) -> None:
    recipe = str(write("mine.yaml", "options: {dataset: mine.csv, split: random, split_ratios: [0.7, 0.1, 0.2]}"))
    config = train(recipe=recipe, **given)
    assert (config.split, config.split_ratios) == ("official", (0.8, 0.1, 0.1))
    typed = train(recipe=recipe, split_ratios="0.6,0.2,0.2", **given)
    assert typed.split_ratios == (0.6, 0.2, 0.2), "what is typed is held against the split"
    assert train(recipe=recipe, dataset="imdb").split_ratios == (0.7, 0.1, 0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "imdb", "train_file": "a.csv"}, "--dataset imdb and --train-file a.csv: which data?"),
        ({"split": "random", "train_file": "a.csv", "test_file": "b.csv"}, "--split random: would leave --test-file unused."),
        ({"text_column": "caf\udce9"}, r"--text-column: got 'caf\udce9', which is not text in UTF-8."),
    ],
)
def test_options_of_data_that_contradict_are_reported_beside_others(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train(**given, epochs="0")
    assert len(caught.value.messages) == 2
    assert message in str(caught.value)


ENTRIES = """
options: {learning_rate: 1e-4}
space: {learning_rate: [1e-4]}
strategies:
  freeze_6: {strategy: freeze_bottom, strategy_args: {bottom: 0.5}, learning_rate: 3e-4, epochs: 2, space: {bottom: [0.5]}}
  freeze_9: {strategy: freeze_bottom, strategy_args: {bottom: 0.75}}
  full:
"""


def test_a_recipe_holds_one_strategy_several_times_under_names_of_their_own(
    write: Callable[[str, str | bytes], Path],
) -> None:
    study = configure(configs.MainConfig, {"recipe": str(write("mine.yaml", ENTRIES)), "epochs": "7"})
    six, nine, full, bare = (configure_strategy(study, name) for name in ("freeze_6", "freeze_9", "full", "freeze_bottom"))
    assert [(plan.entry, plan.strategy, plan.title) for plan in (six, nine, full, bare)] == [
        ("freeze_6", "freeze_bottom", "freeze_6"),
        ("freeze_9", "freeze_bottom", "freeze_9"),
        ("", "full", "full"),
        ("", "freeze_bottom", "freeze_bottom"),
    ]
    assert [plan.strategy_args["bottom"] for plan in (six, nine, bare)] == [0.5, 0.75, 0.5]
    assert [plan.learning_rate for plan in (six, nine, bare)] == [3e-4, 1e-4, 1e-4]
    assert six.epochs == 7, "what is typed beats the entry"
    typed = train(recipe=str(write("mine.yaml", ENTRIES)), strategy="freeze_6", strategy_args="bottom=2")
    assert (typed.entry, typed.strategy_args["bottom"]) == ("freeze_6", 2)
    assert replace_options(typed, {"epochs": 1}).entry == "freeze_6"


def test_an_entrys_name_is_no_part_of_what_a_run_computes(write: Callable[[str, str | bytes], Path]) -> None:
    recipe = str(write("mine.yaml", "strategies: {slow: {strategy: full}, full: {}}"))
    slow, full = train(recipe=recipe, strategy="slow"), train(recipe=recipe, strategy="full")
    assert slow != full
    assert identify(slow) == identify(full)
    assert settings_hash(slow) == settings_hash(full)


@pytest.mark.parametrize(
    ("entry", "typed", "message"),
    [
        ("x: {strategy: lorra}", "x", "recipe mine: x: Unknown strategy 'lorra'. Did you mean 'lora'?"),
        ("lora: {strategy: full}", "lora", "recipe mine: lora: is the name of a strategy, and its strategy is full."),
        ("freeze_6: {strategy: full}", "freze_6", "Unknown strategy 'freze_6'. Did you mean 'freeze_6'? Available: "),
        ("x: {strategy: full, learning_rate: fast}", "x", "recipe mine: x: learning_rate: got 'fast'."),
        ("x: {strategy: lora, strategy_args: {r: 0}}", "x", "x: lora: r: got 0."),
        ("lorra:", "lorra", "Unknown strategy 'lorra'. Did you mean 'lora'?"),
        ("x: {strategy: [full]}", "x", "mine.yaml: 'strategy' of 'x' must be a strategy's name, not ['full']."),
        ("'a,b': {strategy: full}", "a,b", "mine.yaml: 'a,b' cannot name an entry"),
        ("x: {strategy: full, entry: y}", "x", "Unknown option 'entry'."),
    ],
)
def test_a_faulty_entry_is_answered_with_what_is_wrong(
    write: Callable[[str, str | bytes], Path], entry: str, typed: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        train(recipe=str(write("mine.yaml", f"strategies:\n  {entry}\n")), strategy=typed)
    assert message in str(caught.value)


@pytest.mark.parametrize("given", ["0.7,0.1,0.2", " 0.7, 0.1 ,0.2 ", [0.7, 0.1, 0.2], ["0.7", "0.1", "0.2"]])
def test_ratios_are_three_shares(given: object) -> None:
    assert train(split_ratios=given).split_ratios == (0.7, 0.1, 0.2)


@pytest.mark.parametrize("given", ["0.8,0.2", "0.8,0.1,0.2", "1,0,0", "8,1,1", "0.5,-0.1,0.6", "a,b,c", "nan,0.5,0.5", "0.8"])
def test_other_ratios_are_answered_with_what_is_expected(given: str) -> None:
    with pytest.raises(ConfigError, match=r"--split-ratios: got .* Give three shares above 0 that sum to 1, separated by"):
        train(split_ratios=given)


def test_a_data_set_known_by_name_has_columns_of_its_own(write: Callable[[str, str | bytes], Path]) -> None:
    recipe = str(write("mine.yaml", "options: {dataset: mine.csv, text_column: HS01, labels: [b, a], encoding: latin-1}"))
    assert (train(recipe=recipe).text_column, train(recipe=recipe).labels) == ("HS01", ("b", "a"))
    other = train(recipe=recipe, dataset="other.csv")
    assert (other.text_column, other.labels, other.encoding) == ("HS01", ("b", "a"), "latin-1")
    named = train(recipe=recipe, dataset="rotten_tomatoes", labels="pos,neg")
    assert (named.text_column, named.labels, named.encoding) == (None, ("pos", "neg"), None), "what is typed stays"
