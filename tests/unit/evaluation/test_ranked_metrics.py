"""Metrics of rare classes against scikit-learn, as they are and over resampled texts."""

import numpy as np
import pytest
from sklearn import metrics as peers

from pipeline.evaluation.metric import Answers, list_metrics, measure
from pipeline.evaluation.statistics.bootstrap import FEWEST_RESAMPLES, resample_scores

BY_NAME = {metric.name: metric for metric in list_metrics("class")}
OF_PROBABILITIES = sorted(metric.name for metric in BY_NAME.values() if metric.uses_probabilities)
SORTING = sorted(metric.name for metric in BY_NAME.values() if metric.from_draws)


def answers(classes: int, texts: int = 60, seed: int = 0, places: int = 2) -> Answers:
    """A rare class, and probabilities of which many are equal."""
    generator = np.random.default_rng(seed)
    gold = np.minimum(generator.geometric(0.6, texts) - 1, classes - 1)
    logits = generator.normal(size=(texts, classes)) + np.eye(classes)[gold]
    probabilities = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), places) + 1e-9
    return Answers(gold, probabilities.argmax(1), classes, lambda: probabilities)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_values_are_scikit_learn_s(classes: int, seed: int) -> None:
    given = answers(classes, seed=seed)
    assert given.probabilities is not None
    gold, predicted, p = given.gold, given.predicted, given.probabilities()
    assert len(np.unique(gold)) == classes
    truth = np.eye(classes)[gold]
    expected = {
        "balanced_accuracy": peers.balanced_accuracy_score(gold, predicted),
        "mcc": peers.matthews_corrcoef(gold, predicted),
        "f1_weighted": peers.f1_score(gold, predicted, average="weighted", zero_division=0),
        "auroc": peers.roc_auc_score(truth, p, average="macro"),
        "average_precision": peers.average_precision_score(truth, p, average="macro"),
        "nll": -np.log(p[np.arange(len(gold)), gold]).mean(),
    }
    assert {name: value for name, value in measure(given).items() if name in expected} == pytest.approx(expected)
    if classes == 2:
        assert expected["auroc"] == pytest.approx(peers.roc_auc_score(gold, p[:, 1]))


def test_a_class_without_texts_counts_in_no_mean() -> None:
    given = answers(2)
    assert given.probabilities is not None
    wider = np.insert(given.probabilities(), 2, 0.0, axis=1)
    more = Answers(given.gold, given.predicted, 3, lambda: wider)
    for name in ("auroc", "average_precision", "balanced_accuracy", "mcc", "f1_weighted", "nll"):
        assert BY_NAME[name].of_answers(more) == pytest.approx(BY_NAME[name].of_answers(given))
    one = Answers(given.gold * 0, given.gold * 0, 2, given.probabilities)
    assert (BY_NAME["auroc"].of_answers(one), BY_NAME["average_precision"].of_answers(one)) == (0.5, 1.0)


def test_resampled_scores_are_those_of_the_drawn_texts() -> None:
    runs = [answers(3, seed=seed) for seed in range(2)]
    gold, drawn = runs[0].gold, np.random.default_rng(5).integers(0, 60, (7, 60))
    weights = np.stack([np.bincount(rows, minlength=60) for rows in drawn]).astype(np.float32)
    from pipeline.evaluation.metric import Draws

    for run in runs:
        assert run.probabilities is not None
        p = run.probabilities()
        each = [Answers(gold[rows], p[rows].argmax(1), 3, lambda rows=rows, p=p: p[rows]) for rows in drawn]  # type: ignore[misc]
        for name in SORTING:
            metric = BY_NAME[name]
            assert metric.from_draws is not None
            found = metric.from_draws(Draws(gold, p, weights))
            np.testing.assert_allclose(found, [metric.of_answers(one) for one in each], err_msg=name)


@pytest.mark.parametrize("texts", [1, 2, 4_000])
def test_areas_are_scikit_learn_s_of_few_texts_and_of_so_many_that_float32_holds_no_product(texts: int) -> None:
    given = answers(2, texts, places=6)
    assert given.probabilities is not None
    truth, p = np.eye(2)[given.gold], given.probabilities()
    areas = measure(given)
    if texts == 1:  # of one class alone
        assert (areas["auroc"], areas["average_precision"]) == (0.5, 1.0)
        return
    assert areas["auroc"] == pytest.approx(peers.roc_auc_score(truth, p, average="macro"), rel=1e-12)
    assert areas["average_precision"] == pytest.approx(peers.average_precision_score(truth, p, average="macro"), rel=1e-12)


def test_intervals_of_probabilities_stand_beside_the_others_and_change_none() -> None:
    gold = answers(2).gold
    p = [np.roll(given.probabilities(), 0, 0) for given in (answers(2), answers(2, seed=0, places=1)) if given.probabilities]
    predicted = np.stack([one.argmax(1) for one in p])
    without = resample_scores(gold, predicted, 2, 1_200)
    found = resample_scores(gold, predicted, 2, 1_200, probabilities=p)
    assert found.scores.keys() - without.scores.keys() == set(OF_PROBABILITIES)
    assert all(np.array_equal(found.covariance[name], without.covariance[name]) for name in without.covariance)
    assert FEWEST_RESAMPLES < 1_200
    for name in OF_PROBABILITIES:
        expected = [
            BY_NAME[name].of_answers(Answers(gold, said, 2, lambda one=one: one))
            for said, one in zip(predicted, p, strict=True)
        ]  # type: ignore[misc]
        np.testing.assert_allclose(found.scores[name], expected)
        assert found.covariance[name].shape == (2, 2)
    error = np.sqrt(found.covariance["auroc"][0, 0])
    positive = int((gold == 1).sum())
    area = found.scores["auroc"][0]
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)  # Hanley and McNeil 1982
    spread = (area * (1 - area) + (positive - 1) * (q1 - area**2) + (60 - positive - 1) * (q2 - area**2)) / (
        positive * (60 - positive)
    )
    assert error == pytest.approx(np.sqrt(spread), rel=0.3)


def test_what_is_a_mean_over_texts_varies_as_one() -> None:
    given = answers(3, texts=200)
    assert given.probabilities is not None
    found = resample_scores(given.gold, given.predicted[None], 3, 4_000, probabilities=[given.probabilities()])
    nll, of_texts = BY_NAME["nll"], BY_NAME["nll"].of_texts
    assert of_texts is not None
    assert found.scores["nll"][0] == pytest.approx(nll.of_answers(given))
    assert found.covariance["nll"][0, 0] == pytest.approx(of_texts(given).var() / 200, rel=0.1)


def test_of_very_many_texts_they_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.evaluation.statistics.bootstrap.MOST_SORTED", 100)
    given = answers(2)
    assert given.probabilities is not None
    found = resample_scores(given.gold, given.predicted[None], 2, 20, probabilities=[given.probabilities()])
    assert found.scores.keys().isdisjoint(SORTING)
    assert {"f1_macro", "nll"} <= found.scores.keys(), "what is a mean over texts sorts none"
