"""The linear probe is scikit-learn's logistic regression, put into the model."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.data.batching import TokenExamples
from pipeline.errors import ConfigError, TrainingError
from pipeline.evaluation.task import softmax
from pipeline.objectives.losses.cross_entropy import CrossEntropy
from pipeline.strategies.base import create_strategy
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.inference import predict_logits
from pipeline.training.solved_heads.closed_form import solve_head


def features(classes: int = 2, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = np.arange(90) % classes
    return (generator.normal(3, [0.1, 1, 10, 1], (90, 4)) + labels[:, None]).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_is_logistic_regression_on_standardised_features(classes) -> None:
    given, labels = features(classes)
    found = create_strategy("linear_probe", {"C": 0.5}).solve(given, labels, classes)
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=10_000)).fit(given.astype(float), labels)
    np.testing.assert_allclose(softmax(given @ found.weight.T + found.bias), peer.predict_proba(given), atol=1e-4)
    assert found.iterations > 1


def test_a_class_without_examples_is_never_predicted() -> None:
    given, labels = features(2)
    found = create_strategy("linear_probe", {}).solve(given, labels * 2, 4)
    probabilities = softmax(given @ found.weight.T + found.bias)
    assert probabilities.shape == (90, 4)
    assert probabilities[:, [1, 3]].max() < 1e-6


def test_one_class_is_refused() -> None:
    given, labels = features()
    with pytest.raises(TrainingError, match="all training examples are of one class"):
        create_strategy("linear_probe", {}).solve(given, labels * 0, 2)


@pytest.mark.parametrize(("family", "head"), [("bert", "pooler"), ("albert", "pooler"), ("distilbert", "mean")])
def test_the_model_computes_what_was_solved(tiny, tmp_path, family, head, watch) -> None:
    config, table, results = tiny.config(head=head, dropout=0.5), tiny.table(40), []
    for cache in (None, ActivationCache(tmp_path / "states", 10**8)):
        built = tiny.build(create_strategy("linear_probe", {}), tiny.folder(family), config)
        watcher = watch()
        result = tiny.fit(built, config, tmp_path / "checkpoints", rows=40, watcher=watcher, activation_cache=cache)
        logits = torch.from_numpy(
            predict_logits(built.model, TokenExamples(table, built.model.config.pad_token_id), torch.device("cpu"))
        )
        assert float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(table.labels))) == pytest.approx(
            result.train_loss_mean, abs=1e-4
        )
        assert (result.steps, result.total_steps, result.best_step, watcher.steps) == (1, 1, 1, [1])
        assert result.train_seconds > 0
        assert [sorted(metrics)[0].partition("/")[0] for _, metrics in watcher.logs] == ["train", "val"]
        results.append((result, logits))
    assert torch.allclose(results[0][1], results[1][1], atol=1e-3)
    assert results[0][0].flops > results[1][0].flops > 0


def test_it_separates_better_than_a_few_gradient_steps(tiny, tmp_path) -> None:
    losses = {}
    for name in ("linear_probe", "head_only"):
        config = tiny.config(head="mean", learning_rate=1e-2)
        built = tiny.build(create_strategy(name, {}), tiny.folder(), config)
        losses[name] = tiny.fit(built, config, tmp_path / name, rows=40).train_loss_mean
    assert losses["linear_probe"] < losses["head_only"]


def test_a_pooler_that_the_checkpoint_lacks_is_refused(tiny) -> None:
    with pytest.raises(ConfigError, match=r"the checkpoint lacks bert\.pooler\.dense\.bias, .* Add --head mean"):
        tiny.build(create_strategy("linear_probe", {}), tiny.folder("bert", pooler=False), tiny.config())


def test_nothing_but_one_linear_layer_may_train(tiny) -> None:
    built = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config())
    with pytest.raises(ValueError, match="one linear layer"):
        solve_head(
            built.strategy, built.model, built.parameters, TokenExamples(tiny.table(8), 0), CrossEntropy(), torch.device("cpu")
        )
