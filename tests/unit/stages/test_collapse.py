"""Whether a training learned, and what is said where it did not."""

import numpy as np
import pytest

from pipeline.config import FitConfig
from pipeline.data.token_losses import TokenLosses
from pipeline.stages.progress import count_classes
from pipeline.stages.train import describe_collapse, has_learned

BALANCED = [426, 427]
COLLAPSED = {"accuracy": 0.4994, "f1_macro": 0.333}
LEARNED = {"accuracy": 0.77, "f1_macro": 0.77}


def config(**options: object) -> FitConfig:
    return FitConfig(**{"learning_rate": 1e-3, "warmup_ratio": 0.1, "epochs": 2, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accuracy", "f1_macro", "counts", "learned"),
    [
        (0.4994, 0.333, BALANCED, False),
        (0.77, 0.77, BALANCED, True),
        (0.53, 0.53, BALANCED, False),  # 0.496 to 0.563: may be chance on 853 texts
        (0.53, 0.53, [42_600, 42_700], True),  # of a hundred times as many it is not
        (0.90, 0.4737, [900, 100], False),  # always the frequent class
        (0.85, 0.70, [900, 100], True),  # fewer right than by that guess, and yet both classes are told apart
        (0.10, 0.0909, [900, 100], False),
        (0.40, 0.20, [200] * 5, True),
        (0.20, 0.0667, [200] * 5, False),
    ],
)
def test_a_guess_that_does_not_read_the_text_has_not_learned(
    accuracy: float, f1_macro: float, counts: list[int], learned: bool
) -> None:
    assert has_learned({"accuracy": accuracy, "f1_macro": f1_macro}, counts) is learned


def test_a_training_that_learned_nothing_is_said_to_with_the_way_out() -> None:
    line = describe_collapse(COLLAPSED, COLLAPSED, BALANCED, config(), total_steps=100)
    assert line.startswith(
        "it did not learn: the 95 % interval of its accuracy, 0.466 to 0.533, is not above the 0.501 of always"
    )
    assert "Lower --learning-rate (0.001) or raise --warmup-ratio (0.1)" in line
    assert "--epochs (2)" in line


@pytest.mark.parametrize(
    ("steps", "options", "whole"),
    [
        (1, {}, "its only step is warm-up"),
        (3, {"warmup_ratio": 1.0}, "all of its 3 steps are warm-up"),
    ],
)
def test_a_training_that_is_all_warm_up_is_not_told_to_lower_its_rate(
    steps: int, options: dict[str, object], whole: str
) -> None:
    line = describe_collapse(COLLAPSED, COLLAPSED, BALANCED, config(**options), total_steps=steps)
    assert f"The cause: {whole}" in line
    assert "Lower --warmup-ratio" in line
    assert "lower --batch-size" in line
    assert "Lower --learning-rate" not in line
    two = describe_collapse(COLLAPSED, COLLAPSED, BALANCED, config(), total_steps=2)
    assert "warm-up" not in two, "the second of two steps trains"


def test_a_classifier_that_is_solved_for_is_told_of_no_rate() -> None:
    line = describe_collapse(COLLAPSED, COLLAPSED, BALANCED, config(), total_steps=1, solved=True)
    assert line.startswith("it did not learn: the 95 % interval")
    assert "It is solved for" in line
    assert "--learning-rate" not in line
    assert "warm-up" not in line


def test_a_tokenizer_that_knows_nothing_of_the_texts_is_the_cause_and_not_the_rate() -> None:
    tokens = TokenLosses(np.array([[10, 9, 0], [10, 8, 0]], np.int32))
    line = describe_collapse(COLLAPSED, COLLAPSED, BALANCED, config(model="their-encoder"), tokens, total_steps=100)
    assert "The cause: the tokenizer of their-encoder makes [UNK] of 85 % of the tokens" in line
    assert "--learning-rate" not in line


def test_a_training_that_forgot_what_it_had_learned_is_said_to() -> None:
    line = describe_collapse(LEARNED, COLLAPSED, BALANCED, config(), total_steps=100)
    assert line.startswith("training collapsed: accuracy was 0.4994 at its end")
    assert "the checkpoint with 0.7700 was kept. Lower --learning-rate" in line


@pytest.mark.parametrize("counts", [[], [853]], ids=["scores", "one class"])
def test_nothing_is_said_where_it_learned_or_where_that_means_nothing(counts: list[int]) -> None:
    assert describe_collapse(LEARNED, LEARNED, BALANCED, config(), total_steps=100) == ""
    assert describe_collapse({"spearman": 0.0}, {"spearman": 0.0}, counts, config(), total_steps=100) == ""


def test_classes_without_an_example_are_counted_too() -> None:
    assert count_classes(np.array([0, 2, 2], np.int64), ["a", "b", "c"]) == [1, 0, 2]
    assert count_classes(np.array([0.5, 2.25], np.float32), []) == []
