import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pipeline.evaluation.metric import Answers, measure
from pipeline.evaluation.statistics.chance import beats_guessing, class_shares, correlation_interval, is_far_below_chance
from pipeline.evaluation.statistics.intervals import Interval


def below(gold: list[int], predicted: list[int], classes: int) -> bool:
    counts = np.bincount(gold, minlength=classes).tolist()
    return is_far_below_chance(measure(Answers(np.array(gold), np.array(predicted), classes))["recall_macro"], counts)


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


def exactly(value: float) -> Interval:
    return Interval(value, value, value)


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.integers(50, 2000))
def test_answers_that_do_not_read_the_text_never_beat_guessing(classes: int, seed: int, texts: int) -> None:
    """In expectation: every text is answered with the same shares of the classes."""
    generator = np.random.default_rng(seed)
    true, said = generator.dirichlet(np.ones(classes), 2)
    accuracy = float(true @ said)
    f1_macro = float(np.mean(2 * true * said / (true + said)))
    assert not beats_guessing(exactly(accuracy - 1e-9), exactly(f1_macro - 1e-9), float(true.max()), classes)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_always_answering_one_class_is_not_learning(label: int) -> None:
    gold = np.array([0] * 70 + [1] * 20 + [2] * 10)
    scores = measure(Answers(gold, np.full(100, label), 3))
    shares = class_shares(gold)
    assert shares.tolist() == [0.7, 0.2, 0.1]
    assert not beats_guessing(exactly(scores["accuracy"]), exactly(scores["f1_macro"]), shares.max(), 3)


def test_on_skewed_classes_macro_f1_shows_what_accuracy_does_not() -> None:
    assert beats_guessing(Interval(0.88, 0.86, 0.90), Interval(0.70, 0.66, 0.74), 0.9, 2)
    assert beats_guessing(Interval(0.95, 0.93, 0.97), Interval(0.50, 0.45, 0.55), 0.9, 2)
    assert not beats_guessing(Interval(0.91, 0.89, 0.93), Interval(0.52, 0.48, 0.56), 0.9, 2)


def test_the_interval_of_a_correlation_holds_what_other_examples_give() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        pairs = generator.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 80)
        found = correlation_interval(float(spearmanr(*pairs.T).statistic), 80)
        covered += found.low <= 6 / np.pi * np.arcsin(0.3) <= found.high
    assert 0.92 <= covered / 300 <= 0.98
    assert correlation_interval(0.9, 3) == Interval(0.9, -1.0, 1.0)
    assert correlation_interval(1.0, 50).low == 1.0
