"""Options of a run are read by meaning, whoever logged them: `mlflow run` as they were typed, or a stage."""

import pytest

from pipeline.config import EvaluateConfig, MainConfig
from pipeline.data.long_texts import LongTextReading
from pipeline.errors import RunError
from pipeline.tracking.run_options import count_of, limit_of, logged_option, option_of, reading_of, say_option, seeds_of
from pipeline.tracking.runs import Run


def run_with(**params: str) -> Run:
    return Run("r", "run", "FINISHED", 1, params=params)


@pytest.mark.parametrize(
    ("name", "typed", "logged"),
    [
        ("gradient_checkpointing", "true", "True"),
        ("gradient_checkpointing", "no", "False"),
        ("acceleration", "quick_dropout, first_token", "['first_token', 'quick_dropout']"),
        ("acceleration", "auto", "['auto']"),
        ("learning_rate", "2e-5", "2e-05"),
        ("label_smoothing", "0", "0.0"),
        ("split_ratios", "0.8,0.1,.1", "[0.8, 0.1, 0.1]"),
        ("class_weights", "b:1, a:2.0", "a:2,b:1"),
        ("seed", "042", "42"),
        ("dataset", "[a].csv", "[a].csv"),
    ],
)
def test_what_was_typed_is_what_a_stage_makes_of_it(name: str, typed: str, logged: str) -> None:
    mine, theirs = run_with(**{name: typed}), run_with(**{name: logged})
    assert logged_option(mine, name) == logged_option(theirs, name)
    assert say_option(mine, name) == logged


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("gradient_accumulation_steps", "1"),
        ("gradient_checkpointing", "false"),
        ("acceleration", "auto"),
        ("train_size", "all"),
        ("train_size", "none"),
        ("max_eval_samples", ""),
        ("label_smoothing", ""),
    ],
)
def test_a_default_that_was_typed_is_an_option_that_is_not_there(name: str, typed: str) -> None:
    assert option_of(run_with(**{name: typed}), name) == option_of(run_with(), name)


def test_the_value_that_was_used_counts_where_another_one_was_typed() -> None:
    assert option_of(run_with(max_length="512", max_length_resolved="256"), "max_length") == 256


def test_options_of_other_stages_are_theirs() -> None:
    assert logged_option(run_with(ranking_metric="none"), "ranking_metric", MainConfig) is None
    assert logged_option(run_with(force="yes"), "force", EvaluateConfig) is True


@pytest.mark.parametrize("text", ["polynomial", "[", "['linear'", "[" * 10_000, "\x00"])
def test_what_the_stage_would_refuse_stays_as_it_is(text: str) -> None:
    assert say_option(run_with(lr_scheduler_type=text), "lr_scheduler_type") == text
    assert say_option(run_with(compute_dtype=text), "compute_dtype") == text, "no option"


def test_a_limit_that_is_none_is_none() -> None:
    assert limit_of(run_with(max_eval_samples="100"), "max_eval_samples", 853.0) == 100
    assert limit_of(run_with(max_eval_samples="1000"), "max_eval_samples", 853.0) is None
    assert limit_of(run_with(max_eval_samples="none"), "max_eval_samples", 853.0) is None
    assert limit_of(run_with(), "max_eval_samples", 853.0) is None
    with pytest.raises(RunError, match=r"Run r: its parameter max_eval_samples says 'many' where a whole number is expected"):
        count_of(run_with(max_eval_samples="many"), "max_eval_samples")


def test_seeds_and_the_reading_of_long_texts() -> None:
    assert seeds_of(run_with(seed="1", data_seed="none")) == seeds_of(run_with(seed="01")) == (1, None, None, None)
    assert seeds_of(run_with()) == (None, None, None, None), "a model from elsewhere"
    assert reading_of(run_with(long_texts="windows", window_overlap=".50")) == LongTextReading("windows", 0.5)
    assert reading_of(run_with(window_overlap="")) == LongTextReading()
