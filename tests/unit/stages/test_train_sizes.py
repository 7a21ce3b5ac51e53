"""Studies at several numbers of labelled texts: what is planned, what is held equal, what is refused."""

from typing import Any

import numpy as np
import pytest
from test_plan import plan as plan

from pipeline.config import MainConfig, TrainConfig
from pipeline.config.identity import identify
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure
from pipeline.stages.study.sizes import describe_sizes


def test_every_strategy_is_planned_at_every_size(plan: Any) -> None:
    made = plan(strategies="lora,tfidf", train_sizes="all,40,8", seeds=2)
    there = made.strategies[0].prepared.manifest.rows["train"]
    planned = [(made.name(inputs), inputs.count("train"), inputs.config.epoch_size) for inputs in made.strategies]
    assert planned == [
        ("lora on 8 texts", 8, there),
        ("tfidf on 8 texts", 8, None),
        ("lora on 40 texts", 40, there),
        ("tfidf on 40 texts", 40, None),
        ("lora on all texts", there, None),
        ("tfidf on all texts", there, None),
    ]
    steps = {inputs.total_steps for inputs in made.strategies if inputs.config.model}
    assert len(steps) == 1, "held"
    made = plan(strategies="lora,setfit", train_sizes="all,40,8")
    of_setfit = {inputs.total_steps for inputs in made.strategies if inputs.config.strategy == "setfit"}
    assert of_setfit == {2048 // made.strategies[1].config.batch_size}, "the same pairs again where there are fewer"
    assert "each size trains for as many steps as the largest" in " ".join(describe_sizes(made.config, made.strategies))


def test_all_is_the_study_without_sizes(plan: Any) -> None:
    usual, sized = plan(strategies="lora,tfidf", seeds=2), plan(strategies="lora,tfidf", seeds=2, train_sizes="all")
    assert [inputs.config_hash("fp32") for inputs in usual.strategies] == [
        inputs.config_hash("fp32") for inputs in sized.strategies
    ]
    assert [usual.name(inputs) for inputs in usual.strategies] == [sized.name(inputs) for inputs in sized.strategies]
    assert not list(describe_sizes(sized.config, sized.strategies))


def test_the_largest_size_is_the_training_of_that_size_alone(plan: Any) -> None:
    alone = plan(strategies="lora", train_size=40)
    sized = plan(strategies="lora", train_sizes="8,40")
    assert sized.at_largest_size[0].identity == alone.strategies[0].identity
    epochs = plan(strategies="lora", train_sizes="8,40", hold="epochs")
    assert [inputs.config.epoch_size for inputs in epochs.strategies] == [None, None]
    assert [inputs.total_steps for inputs in epochs.strategies] == [2, 4]


def test_subsets_are_nested_and_each_seeds_own(plan: Any) -> None:
    made = plan(strategies="lora,tfidf", train_sizes="8,40,all", seeds=2)
    samples = {
        (inputs.config.strategy, inputs.config.train_size, training.config.seed): set(training.sample("train"))
        for inputs in made.strategies
        for training in made.trainings(inputs)
    }
    for seed in (42, 43):
        for size in (8, 40, None):
            assert samples["lora", size, seed] == samples["tfidf", size, seed]
        assert samples["lora", 8, seed] < samples["lora", 40, seed] < samples["lora", None, seed]
    assert samples["lora", 40, 42] != samples["lora", 40, 43]


def test_validation_stays_or_shrinks(plan: Any) -> None:
    full = plan(strategies="tfidf", train_sizes="8,all")
    whole = full.strategies[0].prepared.manifest.rows["validation"]
    assert [inputs.count("validation") for inputs in full.strategies] == [whole, whole]
    shrunk = plan(strategies="tfidf", train_sizes="8,all", validation_size="proportional")
    small, large = shrunk.strategies
    share = 8 / large.count("train")
    assert small.count("validation") == len(small.sample("validation")) == max(2, round(whole * share))
    assert large.config.validation_size == "full", "the study without sizes"
    assert np.array_equal(small.sample("test"), large.sample("test"))


def test_a_limit_bounds_what_sizes_are_drawn_from(plan: Any) -> None:
    made = plan(strategies="tfidf", train_sizes="8,all", max_train_samples=50)
    small, large = made.strategies
    assert large.count("train") == 50
    assert set(small.sample("train")) < set(large.sample("train"))


def test_what_was_typed_takes_the_place_of_the_recipes_other_way_to_say_it(plan: Any, tiny: Any) -> None:
    typed = {"strategies": "lora", "model": tiny.folder(), "dataset": tiny.csv(), "precision": "fp32"}
    made = plan({"options": {"train_sizes": [8, 40], "hold": "epochs"}}, **typed, train_size=16)
    assert [inputs.config.train_size for inputs in made.strategies] == [16]
    made = plan({"options": {"train_size": 16}, "strategies": {"lora": {"train_size": 20}}}, **typed, train_sizes="8,40")
    assert [inputs.config.train_size for inputs in made.strategies] == [8, 40]
    with pytest.raises(ConfigError, match="--train-sizes and --train-size are both given"):
        plan({"options": {"train_sizes": [8, 40], "train_size": 16}}, **typed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"train_sizes": "8,100000"},
            r"--train-sizes 8,100000: 100000 is more than the \d+ training texts\. Lower it; all takes",
        ),
        ({"train_sizes": "1,8"}, "--train-sizes 1,8: 1 is too small to have a text of each of the 2 classes. Raise it"),
        ({"train_sizes": "8,8"}, "8 is named twice. Name each size once"),
        ({"train_sizes": "50,all", "max_train_samples": 50}, r"50 is named twice \(all are 50\)"),
        (
            {"train_sizes": "8,60", "max_train_samples": 50},
            "60 is more than the 50 training texts that --max-train-samples leaves",
        ),
        ({"train_sizes": "8,many"}, "--train-sizes: got '8,many'. Give whole numbers of at least 1, separated by commas"),
        ({"train_sizes": "0,8"}, "--train-sizes: got '0,8'. Give whole numbers of at least 1"),
        ({"train_sizes": "8,all", "train_size": 8}, "--train-sizes and --train-size are both given. Give one of them"),
        ({"hold": "steps"}, "--hold steps: says how trainings of several --train-sizes are held equal. Add these"),
        ({"validation_size": "proportional"}, "--validation-size proportional: needs --train-size with a number"),
        ({"epoch_size": 30}, "--epoch-size 30: needs --train-size with a number"),
        ({"epoch_size": 30, "train_size": 40}, "--epoch-size 30: is less than the 40 texts of --train-size"),
        ({"train_size": 100000}, r"--train-size 100000: is more than the \d+ training texts"),
        ({"train_size": 1}, "--train-size 1: is too small to have a text of each of the 2 classes"),
    ],
)
def test_what_cannot_be_is_refused_by_name(plan: Any, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(strategies="lora", **options)


def test_a_configuration_without_a_size_is_known_as_before() -> None:
    assert not {"train_size", "validation_size", "epoch_size"} & identify(configure(TrainConfig, {})).keys()
    assert not {"train_sizes", "hold"} & identify(configure(MainConfig, {})).keys()
    assert configure(TrainConfig, {"train_size": "all"}) == configure(TrainConfig, {"train_size": "all"})
    assert configure(TrainConfig, {"train_size": "all"}).train_size is None
    assert configure(MainConfig, {"train_sizes": "512, all,32"}).train_sizes == ("32", "512", "all")
