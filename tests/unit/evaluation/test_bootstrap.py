import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from pipeline.evaluation.statistics.bootstrap import resample_scores


def make(texts: int, runs: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, classes, texts)
    other = generator.integers(0, classes, (runs, texts))
    return gold, np.where(generator.random((runs, texts)) < 0.7, gold, other)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.sampled_from([2, 3, 15, 16, 40]), st.integers(0, 99))
def test_the_scores_are_those_of_scikit_learn_whether_indicators_are_sparse_or_not(
    texts: int, runs: int, classes: int, seed: int
) -> None:
    gold, predicted = make(texts, runs, classes, seed)
    found = resample_scores(gold, predicted, classes, resamples=20)
    for run in range(runs):
        f1 = f1_score(gold, predicted[run], average="macro", labels=np.arange(classes), zero_division=0)
        assert found.scores["f1_macro"][run] == pytest.approx(f1, abs=1e-12)
        assert found.scores["accuracy"][run] == pytest.approx(accuracy_score(gold, predicted[run]), abs=1e-12)


def test_the_variance_is_that_of_a_plain_bootstrap_with_scikit_learn() -> None:
    gold, predicted = make(120, 2, 3)
    found = resample_scores(gold, predicted, 3, resamples=20_000)
    generator = np.random.default_rng(5)
    plain = []
    for _ in range(2_000):
        rows = generator.integers(0, 120, 120)
        scores = [f1_score(gold[rows], one[rows], average="macro", labels=[0, 1, 2], zero_division=0) for one in predicted]
        plain.append(scores)
    assert found.covariance["f1_macro"] == pytest.approx(np.cov(plain, rowvar=False), rel=0.15, abs=2e-5)


def test_the_variance_of_accuracy_is_the_binomial_one() -> None:
    gold = np.zeros(400, np.int64)
    predicted = np.stack([np.repeat([0, 1], [320, 80]), np.repeat([1, 0], [80, 320])])
    found = resample_scores(gold, predicted, 2, resamples=20_000)
    of_mean = np.array([[0.16, -0.04], [-0.04, 0.16]]) / 400  # 0.8 * 0.2; they are never wrong on the same text
    assert found.covariance["accuracy"] == pytest.approx(of_mean, rel=0.06)


def test_equal_seeds_give_equal_figures_and_very_much_work_fewer_resamples() -> None:
    gold, predicted = make(50, 2, 2)
    once, again, other = (resample_scores(gold, predicted, 2, 100, seed).covariance["f1_macro"] for seed in (1, 1, 2))
    assert (once == again).all()
    assert (once != other).any()
    assert resample_scores(gold, predicted, 2).resamples == 10_000
    gold, predicted = make(20_000, 60, 15)
    assert resample_scores(gold, predicted[:, :], 15).resamples == 1_000
