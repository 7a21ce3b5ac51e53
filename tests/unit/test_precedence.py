"""What is typed beats the recipe, also where it is said by another option; so does an entry the recipe's own options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import MainConfig, TrainConfig
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure, configure_strategy

OF_MODEL = {"model_revision": "abc", "base_model": "theirs", "model_labels": ["b", "a"]}


@pytest.fixture
def recipe(write: Callable[[str, str | bytes], Path]) -> Callable[..., str]:
    """Writes a recipe of these options: its path."""

    def recipe(strategies: dict[str, Any] | None = None, **options: object) -> str:
        content = {"options": options, "strategies": strategies or {"full": None}}
        return str(write("mine.yaml", yaml.safe_dump(content)))

    return recipe


def of_study(recipe: str, entry: str = "full", **typed: str) -> tuple[MainConfig, TrainConfig]:
    """The study, and the training of an entry."""
    study = configure(MainConfig, {"recipe": recipe, **typed})
    return study, configure_strategy(study, entry)


def test_a_model_that_was_typed_is_trained_and_not_the_models_of_the_recipe(recipe: Callable[..., str]) -> None:
    for path in (recipe(models=["a", "b"]), "encoders"):
        study, training = of_study(path, model="mine")
        assert (study.models, study.model, training.model) == ((), "mine", "mine")
        assert configure(MainConfig, {"recipe": path}).models, "without it they stand"
    study, _ = of_study(recipe(models=["a", "b"]), models="c,d")
    assert study.models == ("c", "d")


@pytest.mark.parametrize("named", [{"model": "theirs"}, {"models": ["theirs"]}, {"models": "theirs"}], ids=str)
def test_what_a_recipe_says_of_its_model_is_not_said_of_another(recipe: Callable[..., str], named: dict[str, Any]) -> None:
    more = {name: value for name, value in OF_MODEL.items() if name != "model_revision" or "model" in named}
    path = recipe(**named, **more)
    for typed in ({"model": "mine"}, {"models": "mine,yours"}):
        study, _ = of_study(path, **typed)
        training = configure_strategy(study, "full", "mine" if "models" in typed else None)
        assert training.model == "mine"
        assert (training.model_revision, training.base_model, training.model_labels) == (None, None, ())
    _, same = of_study(path, model="theirs")
    assert (same.base_model, same.model_labels) == ("theirs", ("b", "a")), "it is what was meant"
    _, typed = of_study(path, model="mine", model_revision="main")
    assert typed.model_revision == "main", "what is typed stays"


def test_an_entry_with_a_model_of_its_own_has_nothing_of_the_others(recipe: Callable[..., str]) -> None:
    own = {"large": {"strategy": "full", "model": "mine"}, "old": {"strategy": "full", "model": "mine", "model_revision": "v1"}}
    path = recipe({"full": None, **own}, model="theirs", **OF_MODEL)
    assert of_study(path)[1].model_revision == "abc"
    assert (of_study(path, "large")[1].model_revision, of_study(path, "large")[1].base_model) == (None, None)
    assert of_study(path, "old")[1].model_revision == "v1"
    assert of_study(path, "old", models="a,b")[1].model_revision == "v1", "it is trained on its own model alone"
    assert of_study(path, "old", model="other")[1].model_revision is None


@pytest.mark.parametrize(
    ("options", "typed", "gone"),
    [
        ({"train_sizes": [8, "all"], "hold": "epochs"}, {"train_size": "64"}, {"train_sizes": (), "hold": "steps"}),
        ({"train_sizes": [8, 64]}, {"train_size": "all"}, {"train_sizes": ()}),
        ({"train_size": 64, "epoch_size": 128}, {"train_sizes": "8,64"}, {"train_size": None, "epoch_size": None}),
        (
            {"train_size": 64, "epoch_size": 128, "validation_size": "proportional"},
            {"train_size": "all"},
            {"epoch_size": None, "validation_size": "full"},
        ),
        ({"label_type": "multi", "label_columns": ["x", "y"]}, {"label_column": "topics"}, {"label_columns": ()}),
        (
            {"label_type": "multi", "label_column": "topics", "label_separator": "|", "labels": ["x"]},
            {"label_columns": "x,y"},
            {"label_column": None, "label_separator": None, "labels": ()},
        ),
        ({"label_type": "multi", "label_columns": ["x", "y"]}, {"label_type": "class"}, {"label_columns": ()}),
        (
            {"labels": ["b", "a"], "metric_for_best_model": "f1_macro", "ranking_metric": "accuracy"},
            {"label_type": "score"},
            {"labels": (), "metric_for_best_model": "spearman", "ranking_metric": None},
        ),
        ({"metric_for_best_model": "loss"}, {"label_type": "score"}, {"metric_for_best_model": "loss"}),
        ({"split": "grouped", "group_column": "film"}, {"split": "random"}, {"group_column": None}),
        ({"loss": "focal", "focal_gamma": 3}, {"loss": "cross_entropy"}, {"focal_gamma": 2.0}),
        ({"loss": "focal", "focal_gamma": 3}, {"loss": "focal"}, {"focal_gamma": 3.0}),
        ({"focal_gamma": 3}, {"loss": "focal"}, {"loss": "focal", "focal_gamma": 3.0}),
        ({"train_size": 64, "epoch_size": 128}, {"train_size": "256"}, {"train_size": 256, "epoch_size": None}),
        ({"train_size": 64, "epoch_size": 128}, {"train_size": "128"}, {"train_size": 128, "epoch_size": 128}),
        (
            {"loss": "focal", "class_weights": "balanced", "label_smoothing": 0.1, "annotators": "majority"},
            {"label_type": "score"},
            {"loss": None, "class_weights": "none", "label_smoothing": 0.0, "annotators": None},
        ),
        ({"class_weights": "balanced"}, {"label_type": "multi"}, {"class_weights": "none"}),
        (
            {"class_weights": "balanced", "annotators": "majority"},
            {"label_type": "class"},
            {"class_weights": "balanced", "annotators": "majority"},
        ),
        ({"dataset": "a/b", "dataset_config_name": "stsb"}, {"dataset": "c.csv"}, {"dataset_config_name": None}),
        ({"dataset": "a/b", "dataset_config_name": "stsb"}, {"train_file": "c.csv"}, {"dataset_config_name": None}),
        ({"dataset": "a/b", "dataset_config_name": "stsb"}, {"dataset": "a/b"}, {"dataset_config_name": "stsb"}),
        ({"dataset_config_name": "stsb"}, {"dataset": "imdb"}, {"dataset_config_name": None}),
        (
            {"dataset": "a.csv", "text_column": "x", "text_pair_column": "y"},
            {"dataset": "imdb"},
            {"text_column": None, "text_pair_column": None},
        ),
        (
            {"dataset": "a.csv", "split": "grouped", "group_column": "film"},
            {"train_file": "a.csv", "test_file": "b.csv"},
            {"group_column": None, "split": "official"},
        ),
        (
            {"dataset": "a.csv", "split": "grouped", "group_column": "film"},
            {"train_file": "a.csv"},
            {"group_column": "film", "split": "grouped"},
        ),
        ({"dataset": "a/b", "dataset_revision": "abc"}, {"dataset": "c/d"}, {"dataset_revision": None}),
        ({"dataset": "a/b", "dataset_revision": "abc"}, {"dataset": "a/b"}, {"dataset_revision": "abc"}),
        ({"dataset": "a/b", "dataset_revision": "abc"}, {"train_file": "c.csv"}, {"dataset_revision": None}),
        (
            {"transfer_dataset": "a.csv", "transfer_text_column": "x", "transfer_labels": ["b", "a"]},
            {"transfer_dataset": "imdb"},
            {"transfer_text_column": None, "transfer_labels": ()},
        ),
        (
            {"transfer_dataset": "a.csv", "transfer_text_column": "x"},
            {"transfer_dataset": "b.csv"},
            {"transfer_text_column": "x"},
        ),
    ],
    ids=str,
)
def test_what_cannot_stand_beside_what_was_typed_goes(
    recipe: Callable[..., str], options: dict[str, Any], typed: dict[str, str], gone: dict[str, Any]
) -> None:
    study, training = of_study(recipe(**options), **typed)
    assert {name: getattr(study, name) for name in gone} == gone
    of_training = {name: value for name, value in gone.items() if hasattr(training, name)}
    assert {name: getattr(training, name) for name in of_training} == of_training


def test_what_a_recipe_says_of_a_loss_is_said_of_its_entries_with_that_loss(recipe: Callable[..., str]) -> None:
    entries = {name: {"strategy": "full", "loss": name} for name in ("focal", "cross_entropy")}
    path = recipe(entries, focal_gamma=5)
    assert of_study(path, "focal")[1].focal_gamma == 5.0
    assert of_study(path, "cross_entropy")[1].focal_gamma == 2.0


def test_the_size_of_an_entry_gives_way_to_sizes_that_were_typed(recipe: Callable[..., str]) -> None:
    path = recipe({"full": {"train_size": 32, "epoch_size": 64}})
    assert of_study(path)[1].train_size == 32
    assert of_study(path, train_sizes="8,64")[1].train_size is None


@pytest.mark.parametrize(
    ("strategies", "entry", "message"),
    [
        ({"auto": {"strategy_args": {"r": 4}}}, "auto", "recipe mine: auto: strategy_args: auto finds its arguments itself."),
        (
            {"best": {"strategy": "auto", "strategy_args": {"r": 4}}},
            "best",
            "recipe mine: best: strategy_args: auto finds its arguments itself.",
        ),
        ({"auto": {"space": {"learning_rate": [1e-4]}}}, "auto", "recipe mine: auto: space: the row is called as the strategy"),
    ],
)
def test_what_auto_would_leave_aside_is_refused(
    recipe: Callable[..., str], strategies: dict[str, Any], entry: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        of_study(recipe(strategies), entry)
    assert caught.value.messages[0].startswith(message)
    own = {"strategy": "auto", "space": {"learning_rate": [1e-4]}, "max_train_samples": 80}
    assert of_study(recipe({"best": own}), "best")[1].max_train_samples == 80
