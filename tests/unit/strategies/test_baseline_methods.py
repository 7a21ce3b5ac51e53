"""What a baseline learns predicts the same from its files, whatever the data are like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.columns import Problem
from pipeline.errors import ConfigError, ModelError, TrainingError
from pipeline.evaluation.multi_label import sigmoid
from pipeline.objectives.base import create_objective
from pipeline.strategies.base import create_strategy, list_strategies
from pipeline.strategies.baseline import Baseline, is_baseline, reads_texts
from pipeline.training.baselines.model import BaselineModel, read_learned

GOOD, BAD = (
    ("a fine warm film", "fine plot, lovely scene", "warm and lovely"),
    ("a dull film", "bland plot, dull scene", "cheap"),
)
TEXTS = [*GOOD, *BAD] * 3
LABELS = np.array([1, 1, 1, 0, 0, 0] * 3)
BASELINES = [name for name in list_strategies() if is_baseline(name)]
UNSEEN = ["a lovely film", "dull", "", "12 ?!", "影片", "🙂" * 5]


def make(name: str, **arguments: object) -> Baseline:
    strategy = create_strategy(name, arguments)
    assert isinstance(strategy, Baseline)
    return strategy


def test_which_strategies_are_baselines() -> None:
    assert BASELINES == ["majority", "tfidf"]
    assert not is_baseline("full")
    assert not is_baseline("auto")
    assert not is_baseline("external")
    assert [reads_texts(name) for name in ("majority", "tfidf", "full", "external")] == [False, True, True, True]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("classes", [2, 3, 0])
def test_files_predict_what_was_learned_to_the_last_bit(name: str, classes: int, tmp_path: Path) -> None:
    strategy = make(name)
    targets: Any = LABELS if classes else LABELS.astype(np.float32) / 3
    learned = strategy.learn(TEXTS, targets, classes)
    predict = strategy.predictor(learned)
    if learned.fitted is not None:
        np.testing.assert_array_equal(predict(TEXTS), learned.fitted)
    problem = Problem(("bad", "good", "odd")[:classes], None if classes else (0.0, 5.0))
    objective = create_objective("classification", problem, "mean")
    BaselineModel(strategy, learned, objective, objective.task).write_delta(tmp_path)
    loaded = BaselineModel(strategy, read_learned(tmp_path), objective, objective.task)
    outputs, cut = loaded.predict_and_count(UNSEEN)
    assert outputs.dtype == np.float32
    assert outputs.shape == (len(UNSEEN), classes or 1)
    assert not cut.any()
    np.testing.assert_array_equal(outputs, predict(UNSEEN))
    np.testing.assert_array_equal(outputs[:1], loaded.predict(UNSEEN[:1]), err_msg="no text depends on another")
    if classes == 3:
        assert (loaded.predict_texts(UNSEEN)[:, 2] < 1e-6).all(), "a class without an example is not predicted"
    if name == "tfidf":
        assert outputs[0, -1 if classes == 2 else classes and 1] > outputs[1, -1 if classes == 2 else classes and 1]
    assert np.isfinite(outputs).all()


def test_majority_answers_with_the_shares_of_the_classes_or_the_mean() -> None:
    strategy = make("majority")
    skewed = np.array([1, 1, 1, 0])
    [logits] = strategy.predictor(strategy.learn(TEXTS[:4], skewed, 2))(["any"])
    assert np.exp(logits) == pytest.approx([0.25, 0.75])
    scores = np.array([0.0, 1.0, 0.2, 0.4], np.float32)
    assert strategy.predictor(strategy.learn(TEXTS[:4], scores, 0))(["any"]) == pytest.approx(0.4)
    assert not strategy.is_tunable


def test_both_texts_of_a_pair_are_one() -> None:
    strategy = make("tfidf")
    objective = create_objective("classification", Problem(("bad", "good"), pairs=True), "mean")
    model = BaselineModel(strategy, strategy.learn(TEXTS, LABELS, 2), objective, objective.task)
    np.testing.assert_array_equal(model.predict([("a fine", "film")]), model.predict(["a fine film"]))


def test_ngrams_that_the_texts_lack_are_left_out() -> None:
    words = make("tfidf", char_ngrams=0).learn(TEXTS, LABELS, 2)
    assert list(words.terms) == ["words"]
    assert {"fine", "a fine"} <= set(words.terms["words"])
    few = make("tfidf", char_ngrams=0, most_ngrams=3).learn(TEXTS, LABELS, 2)
    assert len(few.terms["words"]) == 3
    signs = make("tfidf").learn(["?!", "!!", "?!", "!!"], np.array([0, 1, 0, 1]), 2)
    assert list(signs.terms) == ["characters"]


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (TEXTS, np.ones(18, np.int64), "all training examples are of one class"),
        (["alpha", "beta"], np.array([0, 1]), r"no n-gram stands in min_texts=2 of the 2 training texts.* min_texts=1"),
    ],
)
def test_what_cannot_be_learned_is_refused(texts: list[str], labels: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        make("tfidf", char_ngrams=0).learn(texts, labels, 2)


def test_arguments_that_a_baseline_cannot_work_with_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"word_ngrams=0 with char_ngrams=1 leaves no n-grams"):
        make("tfidf", word_ngrams=0, char_ngrams=1).check_label_type("class")
    with_zero = []
    for words in (0, 1):
        for characters in make("tfidf", word_ngrams=words).search_space()["char_ngrams"].options:
            make("tfidf", word_ngrams=words, char_ngrams=characters).check_label_type("class")  # none is refused
            with_zero += [words] * (characters == 0)
    assert with_zero == [1]
    with pytest.raises(ConfigError, match=r"tfidf: word_ngrams: got 11"):
        make("tfidf", word_ngrams=11)


def test_files_that_are_damaged_are_refused(tmp_path: Path) -> None:
    strategy = make("tfidf")
    objective = create_objective("classification", Problem(("bad", "good")), "mean")
    BaselineModel(strategy, strategy.learn(TEXTS, LABELS, 2), objective, objective.task).write_delta(tmp_path)
    (tmp_path / "terms.json").write_text("{")
    with pytest.raises(ModelError, match=r"terms\.json is missing or damaged"):
        read_learned(tmp_path)


@pytest.mark.parametrize("name", BASELINES)
def test_label_sets_have_an_output_a_label(name: str, tmp_path: Path) -> None:
    strategy = make(name)
    sets = np.stack([LABELS, 1 - LABELS, np.ones_like(LABELS), np.zeros_like(LABELS)], axis=1).astype(np.float32)
    sets[0] = 0  # a text without labels
    learned = strategy.learn(TEXTS, sets, 4)
    objective = create_objective("classification", Problem(("good", "bad", "film", "play"), multi=True), "mean")
    BaselineModel(strategy, learned, objective, objective.task).write_delta(tmp_path)
    model = BaselineModel(strategy, read_learned(tmp_path), objective, objective.task)
    [probabilities] = sigmoid(model.predict(["a lovely film"]))
    assert probabilities[2] > 0.85, "all but one text have it"
    assert probabilities[3] < 1e-6, "no text has it"
    if name == "tfidf":
        assert probabilities[0] > 0.5 > probabilities[1]
    else:
        assert probabilities[:3] == pytest.approx(sets.mean(axis=0)[:3])


def test_weighted_texts_move_the_decision_of_tfidf_and_not_of_majority() -> None:
    rare = np.array([1, 0, 0, 0] * 4)
    texts = ["film film", "film plot", "film scene", "film cast"] * 4
    weights = np.where(rare == 1, 2.0, 2 / 3).astype(np.float32)
    for name in BASELINES:
        strategy = make(name)
        plain, weighted = (strategy.predictor(strategy.learn(texts, rare, 2, given))(["film"])[0] for given in (None, weights))
        moved = (weighted[1] - weighted[0]) - (plain[1] - plain[0])
        assert moved > 0.5 if name == "tfidf" else moved == 0
