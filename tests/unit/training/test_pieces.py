"""Trainings on texts in several pieces: each piece is trained on, each text is scored."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.data.batching import TokenExamples
from pipeline.evaluation.task import ClassificationTask
from pipeline.strategies.base import create_strategy
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.checkpoints import trained_state
from pipeline.training.inference import predict_logits, predict_outputs
from pipeline.training.loop import fit
from pipeline.training.vmapped_heads import fit_heads

ROWS = 20
CPU = torch.device("cpu")


@pytest.fixture
def prepare(tiny, tmp_path):
    """The plan of a training on tables, built as a new process would."""

    def prepare(strategy, train, validation, cache=None, **options):
        config = tiny.config(**options)
        built = tiny.build(create_strategy(strategy, {}), tiny.folder(), config)
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        cache = ActivationCache(tmp_path / cache, 10**8) if cache else None
        return tiny.plan(built, config, folder, train=train, validation=validation, activation_cache=cache)

    return prepare


@pytest.fixture
def train(prepare, watch):
    """Trains on tables; returns plan, result, logs and weights."""

    def train(*tables, **options):
        plan, watcher = prepare(*tables, **options), watch()
        result = fit(plan, watcher)
        return plan, result, watcher.logs, trained_state(plan.model, plan.parameters)

    return train


@pytest.mark.parametrize("strategy", ["full", "head_only", "linear_probe"])
def test_texts_of_one_piece_train_and_score_as_ever_to_the_bit(tiny, train, strategy):
    tables = tiny.table(ROWS), tiny.table(16, seed=1)
    alone = [replace(table, text_index=np.arange(len(table))) for table in tables]
    _, result, logs, weights = train(strategy, *tables)
    _, other, other_logs, other_weights = train(strategy, *alone)
    assert logs == other_logs
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    for count in ("steps", "examples", "tokens", "flops", "train_loss_mean"):
        assert getattr(result, count) == getattr(other, count), count


@pytest.mark.parametrize("strategy", ["full", "partial", "linear_probe"])
def test_pieces_are_trained_on_and_texts_are_scored(tiny, train, strategy):
    pieces, validation = tiny.pieces(ROWS), tiny.pieces(15, seed=1)
    assert (len(pieces), len(validation)) == (10, 7)
    as_rows = replace(pieces, labels=pieces.piece_labels, text_index=None)
    plan, result, _, weights = train(strategy, pieces, validation, epochs=2)
    _, of_rows, _, same_weights = train(strategy, as_rows, validation, epochs=2)
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights), "a piece trains like a text of its own"
    for count in ("steps", "total_steps", "tokens", "flops", "train_loss_mean"):
        assert getattr(result, count) == getattr(of_rows, count), count
    epochs = 1 if strategy == "linear_probe" else 2
    assert (result.examples, of_rows.examples) == (10 * epochs, ROWS * epochs)
    assert result.tokens == pieces.lengths.sum() * epochs
    examples = TokenExamples(validation, plan.pad_id)
    outputs = predict_outputs(plan.model, examples, CPU)
    means = np.stack([outputs[validation.text_index == text].mean(axis=0) for text in range(7)])
    np.testing.assert_allclose(predict_logits(plan.model, examples, CPU), means, atol=1e-6)
    scores = ClassificationTask(tiny.classes).score(validation.labels, means)
    assert result.best == pytest.approx(scores, rel=1e-5)


def test_hidden_states_of_frozen_layers_are_kept_by_piece(tiny, train):
    tables = tiny.pieces(ROWS), tiny.pieces(15, seed=1)
    _, result, logs, weights = train("head_only", *tables, cache="states", dropout=0.0, epochs=2)
    _, other, other_logs, other_weights = train("head_only", *tables, dropout=0.0, epochs=2)
    assert (result.cache, other.cache) == ("built", "unused")
    for (_, metrics), (_, recomputed) in zip(logs, other_logs, strict=True):
        assert metrics == pytest.approx(recomputed, rel=1e-4)
    for name in weights:
        torch.testing.assert_close(weights[name], other_weights[name], rtol=1e-4, atol=1e-5)


def test_heads_that_train_together_are_each_as_if_alone(tiny, train, prepare, watch):
    tables = tiny.pieces(ROWS), tiny.pieces(15, seed=1)
    points = [{"learning_rate": rate, "epochs": 2} for rate in (1e-2, 3e-3)]
    configs = [tiny.config(**point) for point in points]
    together = fit_heads(prepare("head_only", *tables), configs, watch())
    for found, point in zip(together, points, strict=True):
        _, result, _, weights = train("head_only", *tables, **point)
        assert found.result is not None
        for count in ("steps", "examples", "tokens", "flops"):
            assert getattr(found.result, count) == getattr(result, count), count
        assert found.result.best == pytest.approx(dict(result.best), rel=1e-4)
        for name in weights:
            torch.testing.assert_close(found.weights[name], weights[name], rtol=1e-4, atol=1e-5)
