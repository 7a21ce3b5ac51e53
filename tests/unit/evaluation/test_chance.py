import numpy as np
import pytest

from pipeline.evaluation.chance import is_far_below_chance
from pipeline.evaluation.metrics import score_predictions


def below(gold: list[int], predicted: list[int], classes: int) -> bool:
    counts = np.bincount(gold, minlength=classes).tolist()
    return is_far_below_chance(score_predictions(np.array(gold), np.array(predicted), classes)["recall_macro"], counts)


@pytest.mark.parametrize("rare", [2, 10, 50])
@pytest.mark.parametrize("answer", [0, 1])
def test_a_model_that_answers_one_class_alone_is_not_below_chance(rare: int, answer: int) -> None:
    assert not below([0] * (100 - rare) + [1] * rare, [answer] * 100, 2)


@pytest.mark.parametrize("rare", [10, 50])
def test_a_good_model_with_swapped_classes_is(rare: int) -> None:
    gold = [0] * (100 - rare) + [1] * rare
    wrong = [1 - label for label in gold]
    assert below(gold, wrong, 2)
    assert below(gold, gold[:5] + wrong[5:], 2), "it errs now and then"
    assert not below(gold, gold, 2)


def test_a_few_examples_or_many_classes_show_nothing() -> None:
    assert not below([0, 1, 0, 1], [1, 0, 1, 0], 2)
    assert not below(list(range(50)) * 2, [label + 1 for label in range(49)] * 2 + [0, 0], 51)
    assert not is_far_below_chance(0.0, [])
    assert not is_far_below_chance(0.0, [10, 0][:1])


def test_classes_without_examples_lower_what_chance_gives() -> None:
    assert not is_far_below_chance(0.25, [100, 0])
    assert is_far_below_chance(0.0, [100, 100, 0])


def test_guesses_are_hardly_ever_called_so() -> None:
    rng = np.random.default_rng(0)
    called = 0
    for classes, size in ((2, 24), (3, 60), (5, 200), (20, 853)):
        for _ in range(500):
            gold, guess = rng.integers(0, classes, size), rng.integers(0, classes, size)
            called += below(gold.tolist(), guess.tolist(), classes)
    assert called <= 6
