from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import config as configs
from pipeline.config.identity import identify
from pipeline.config.search_ranges import Choices, Integers
from pipeline.errors import ConfigError
from pipeline.recipes import list_recipes
from pipeline.recipes.recipe import load_recipe
from pipeline.stages.configure import configure, configure_strategy

Write = Callable[[str, str | bytes], Path]
ANCHORS = (
    "options:\n  labels: [&a0 [x], "
    + ", ".join(f"&a{level} [{', '.join([f'*a{level - 1}'] * 6)}]" for level in range(1, 8))
    + "]\n"
)
"""Seven anchors, each of six of the one before: 336,000 values."""


def test_every_recipe_that_comes_along_gives_checked_configs() -> None:
    assert "quickstart" in list_recipes()
    for name in list_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description
        study = configure(configs.MainConfig, {"recipe": name})
        assert recipe.strategies
        for strategy in recipe.strategies:
            assert configure_strategy(study, strategy).title == strategy


def test_a_recipe_is_read_from_a_path(write: Write) -> None:
    recipe = load_recipe(
        str(
            write(
                "mine.yaml",
                "description: |\n  Two\n  lines.\noptions: {epochs: 2}\nspace: {learning_rate: [1e-5, 2e-5], r: [4]}\n"
                "strategies:\n  full:\n"
                "  partial: {epochs: 4, strategy_args: {top_k: 2}, space: {r: [8], top_k: {integers: [1, 2]}}}\n",
            )
        )
    )
    assert (recipe.name, recipe.description) == ("mine", "Two lines.")
    assert recipe.options_for("full") == {"epochs": 2}
    assert recipe.options_for("partial") == {"epochs": 4}
    assert recipe.options_for("lora") == {"epochs": 2}
    assert (recipe.arguments_for("full"), recipe.arguments_for("partial")) == ({}, {"top_k": 2})
    rates = Choices((1e-5, 2e-5))
    assert recipe.space_for("full") == {"learning_rate": rates, "r": Choices((4,))}
    assert recipe.space_for("partial") == {"learning_rate": rates, "r": Choices((8,)), "top_k": Integers(1, 2)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "mine.yaml: holds no mapping. Give at least 'options:' or 'strategies:'."),
        ("- a\n", "mine.yaml: holds no mapping"),
        ("a: [\n", "is not readable as YAML"),
        (b"a: \xff\n", "is not readable as YAML"),
        ("option: {epochs: 2}\n", "Unknown key 'option'. Did you mean 'options'?"),
        ("options: [epochs]\n", "'options' must hold key: value lines, not ['epochs']."),
        ("options: {learning_rat: 1}\n", "Unknown option 'learning_rat'. Did you mean 'learning_rate'?"),
        ("options: {cache_dir: x}\n", "'cache_dir' is no part of a study: give it on the command line (--cache-dir)."),
        ("options: {workers: 2}\n", "'workers' is no part of a study: give it on the command line (--workers)."),
        ("strategies: {full: {seed: 1}}\n", "'seed' is no part of a study: give it on the command line (--seed)."),
        ("strategies: {full: {workers: 2}}\n", "'workers' is no part of a study: give it"),
        ("strategies: {full: {seeds: 2}}\n", "'seeds' is of the whole study: write it below 'options:'."),
        ("options: {explicit: [seeds]}\n", "Unknown option 'explicit'."),
        ("strategies: {full: fast}\n", "strategy 'full' must hold key: value lines, not 'fast'."),
        ("strategies: {full: {top_k: 2}}\n", "Unknown option 'top_k'."),
        (
            "strategies: {partial: {strategy_args: top_k}}\n",
            "'strategy_args' of strategy 'partial' must hold key: value",
        ),
        (
            "space: {learning_rate: 1e-5}\n",
            "space: 'learning_rate' must hold a list of values, {integers: [low, high]} or",
        ),
        ("strategies: {'..': {strategy: full}}\n", "mine.yaml: '..' cannot name an entry: files are called after it"),
        ("strategies: {'!?': {strategy: full}}\n", "'!?' cannot name an entry: files are called after it, so"),
        ("strategies: {' ': {strategy: full}}\n", "' ' cannot name an entry: --strategies separates names by commas."),
        ("strategies: {full: {space: {epochs: []}}}\n", "space: 'epochs' holds no value."),
        (
            f"strategies: {{{'x' * 201}: {{strategy: full}}}}\n",
            "it has 201 characters, and tables and pictures have room for 200.",
        ),
        (
            "options: {model: !!python/name:os.getcwd }\n",
            "is not readable as YAML: could not determine a constructor for the tag",
        ),
        ("options: !!python/object/apply:os.getcwd []\n", "is not readable as YAML: could not determine a constructor"),
        (ANCHORS, "mine.yaml holds more than 100,000 values where its anchors (&name, *name) are written out"),
        ("options: &a {labels: [*a]}\n", "mine.yaml holds more than 100,000 values"),
    ],
)
def test_a_faulty_recipe_is_answered_with_what_is_wrong(write: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(write("mine.yaml", content)))
    assert str(caught.value).startswith("--recipe: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["절반", "половина", "آخر", "r = 16 (4/12 layers)", "..r16"])
def test_an_entry_has_a_name_in_any_script(write: Write, name: str) -> None:
    path = write("mine.yaml", f"strategies:\n  {name!r}: {{strategy: full}}\n")
    assert load_recipe(str(path)).strategy_of(name) == "full"


def test_anchors_of_a_recipe_are_read(write: Write) -> None:
    path = write("mine.yaml", "options: &mine {epochs: 2}\nstrategies:\n  full: *mine\n  lora: {<<: *mine, batch_size: 8}\n")
    recipe = load_recipe(str(path))
    assert recipe.strategies == {"full": {"epochs": 2}, "lora": {"epochs": 2, "batch_size": 8}}


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("labels: [1, 2, 3, 4, 5]", "labels", ("1", "2", "3", "4", "5")),
        ("text_column: 3", "text_column", "3"),
        ("sheet: 2", "sheet", "2"),
        ("fair: no", "fair", "no"),
        ("label_columns: 7", "label_columns", ("7",)),
    ],
)
def test_what_yaml_reads_as_a_number_or_as_false_is_as_typed(
    write: Write, option: str, name: str, value: str | tuple[str, ...]
) -> None:
    study = configure(configs.MainConfig, {"recipe": str(write("mine.yaml", f"options: {{{option}}}\n"))})
    assert getattr(study, name) == value
    text = value if isinstance(value, str) else ",".join(value)
    typed = configure(configs.MainConfig, {"recipe": str(write("empty.yaml", "options: {}\n")), name: text})
    assert identify(typed) == identify(study)


def test_a_class_that_yaml_reads_as_true_is_to_be_quoted(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"recipe mine: labels: got \[True, False\]\. Give names .* yes, no, .* in quotes\."):
        configure(configs.MainConfig, {"recipe": str(write("mine.yaml", "options: {labels: [yes, no]}\n"))})


def test_several_mistakes_in_a_recipe_are_reported_together(write: Write) -> None:
    path = write("mine.yaml", "oops: 1\noptions: {epoch: 2}\nstrategies: {full: 3, lora: {rate: 1}}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    assert len(caught.value.messages) == 4


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("quickstar")
    assert str(caught.value).startswith("--recipe: Unknown recipe 'quickstar'. Did you mean 'quickstart'? Available: ")
    assert str(caught.value).endswith("Or give the path of a YAML file.")


def test_the_table_of_the_layerwise_study_has_every_entry() -> None:
    document = Path(__file__).parents[2] / "docs" / "explanation" / "studies.md"
    table = document.read_text(encoding="utf-8").split("## layerwise")[1].split("\n## ")[0]
    named = [name for name in load_recipe("layerwise").strategies if not name.endswith("_not_embeddings")]  # in one row
    assert "attention_head" in named
    assert [name for name in named if f"`{name}`" not in table] == []
