"""SetFit: which pairs are drawn, what the steps make small, and the classifier that is fitted on what they made."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pipeline.data.batching import TokenExamples
from pipeline.errors import ConfigError, TrainingError
from pipeline.evaluation.task import softmax
from pipeline.objectives.loss import CosineSimilarityLoss
from pipeline.strategies.base import create_strategy
from pipeline.training.inference import predict_logits, predict_outputs
from pipeline.training.solved_heads.closed_form import head_layer, without_layer
from pipeline.training.solved_heads.contrastive import check_contrast

LABELS = st.lists(st.integers(0, 3), min_size=2, max_size=14).filter(lambda labels: len(set(labels)) > 1)


def draw(labels, seed=0, **arguments):
    """The pairs, in no order within a pair, by whether they shall be alike."""
    pairs = create_strategy("setfit", arguments).pairs(np.array(labels), seed)
    kinds = {True: [], False: []}
    for row, target in zip(pairs.rows.tolist(), pairs.targets.tolist(), strict=True):
        kinds[target == 1].append(tuple(sorted(row)))
        assert target == (labels[row[0]] == labels[row[1]])
    return kinds[True], kinds[False]


def all_pairs(labels):
    """The same of every pair that there is, as the package lists them: a text with itself, too."""
    pairs = list(combinations_with_replacement(range(len(labels)), 2))
    return [p for p in pairs if labels[p[0]] == labels[p[1]]], [p for p in pairs if labels[p[0]] != labels[p[1]]]


@given(LABELS)
def test_unique_draws_each_pair_once(labels):
    for drawn, there_are in zip(draw(labels, sampling="unique"), all_pairs(labels), strict=True):
        assert sorted(drawn) == there_are


@given(LABELS, st.integers(0, 9))
def test_oversampling_repeats_the_rarer_kind_and_undersampling_leaves_out_of_the_other(labels, seed):
    counts = [len(kind) for kind in all_pairs(labels)]
    for sampling, count in (("oversampling", max(counts)), ("undersampling", min(counts))):
        kinds = draw(labels, seed, sampling=sampling)
        assert [len(kind) for kind in kinds] == [count, count]
        for drawn, there_are in zip(kinds, all_pairs(labels), strict=True):
            assert len(set(drawn)) == min(count, len(there_are)), "none is repeated before each was drawn"


@given(LABELS, st.integers(1, 40), st.sampled_from(["oversampling", "undersampling", "unique"]))
def test_there_are_never_more_than_max_pairs(labels, most, sampling):
    kinds = draw(labels, sampling=sampling, max_pairs=most)
    assert all(1 <= len(kind) <= max(most // 2, 1) for kind in kinds)


def test_iterations_count_pairs_of_each_kind_for_every_text():
    labels = [0, 0, 1, 1]
    assert [len(kind) for kind in draw(labels, num_iterations=20)] == [80, 80]
    assert [len(kind) for kind in draw(labels, num_iterations=20, max_pairs=100)] == [50, 50]


def test_the_default_is_bounded_where_all_pairs_are_many():
    labels = np.arange(10_000) % 2  # 50 million pairs, which would take minutes to list
    assert len(create_strategy("setfit", {}).pairs(labels, 0)) == create_strategy("setfit", {}).max_pairs == 2048


def test_the_seed_decides_which():
    labels = np.arange(40) % 3
    first, again, other = (create_strategy("setfit", {"max_pairs": 50}).pairs(labels, seed).rows.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_one_class_makes_no_pair_that_differs():
    with pytest.raises(TrainingError, match="all training examples are of one class, so there is no pair that differs"):
        create_strategy("setfit", {}).pairs(np.zeros(5, np.int64), 0)


def test_the_loss_is_the_squared_distance_of_the_similarity():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 1.0], [3.0, 0.0], [0.0, 2.0]])  # cosines 1 and 0.7071
    assert CosineSimilarityLoss()(vectors, torch.tensor([1.0, 0.0])).item() == pytest.approx((0 + 0.5) / 2)


def test_the_classifier_is_logistic_regression_on_vectors_of_length_1_on_average():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    vectors = (generator.normal(0, 4, (60, 5)) + labels[:, None]).astype(np.float32)
    found = create_strategy("setfit", {}).solve(vectors, labels, 3)
    scaled = vectors.astype(float) / np.linalg.norm(vectors, axis=1).mean()
    peer = LogisticRegression(max_iter=10_000).fit(scaled, labels)
    np.testing.assert_allclose(softmax(vectors @ found.weight.T + found.bias), peer.predict_proba(scaled), atol=1e-5)


@pytest.mark.parametrize(("family", "head"), [("bert", "pooler"), ("distilbert", "mean")])
def test_texts_of_a_class_become_alike_and_the_classifier_is_fitted_on_them(tiny, tmp_path, family, head, watch):
    config, table = tiny.config(head=head, learning_rate=1e-3, epochs=6), tiny.table(12)
    strategy = create_strategy("setfit", {"max_pairs": 32})
    built = tiny.build(strategy, tiny.folder(family), config, total_steps=24)
    watcher = watch()
    result = tiny.fit(built, config, tmp_path / "run", rows=12, watcher=watcher)
    assert (result.steps, result.total_steps, result.figures["data/train_pairs"]) == (24, 24, 32)
    losses = [metrics["train/loss"] for _, metrics in watcher.logs if "train/loss" in metrics]
    assert losses[-1] < losses[0] / 2
    examples = TokenExamples(table, built.model.config.pad_token_id)
    logits = predict_logits(built.model, examples, torch.device("cpu"))
    with without_layer(built.model, head_layer(strategy, built.parameters)):
        vectors = predict_outputs(built.model, examples, torch.device("cpu"))
    fitted = strategy.solve(vectors, table.labels, logits.shape[1])
    np.testing.assert_allclose(logits, vectors @ fitted.weight.T + fitted.bias, atol=1e-3)


def test_several_processes_are_refused(tiny):
    with pytest.raises(ConfigError, match=r"--num-processes 2: --strategy setfit trains in one process\. Leave"):
        check_contrast(tiny.config(num_processes=2), create_strategy("setfit", {}))
