"""Weighted, focal and smoothed losses against torch and scikit-learn, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from pipeline.config import TrainConfig
from pipeline.config.imbalance import ImbalanceConfig
from pipeline.data.columns import Problem
from pipeline.errors import ConfigError
from pipeline.evaluation.task import ClassificationTask, RegressionTask, ThresholdTask, softmax
from pipeline.objectives.class_weights import class_weights
from pipeline.objectives.loss import check_loss, create_loss
from pipeline.stages.configure import configure
from pipeline.strategies.base import create_strategy

CLASSES = ("a", "b", "c")
TASK = ClassificationTask(CLASSES)
LABELS = np.array([0] * 7 + [1] * 2 + [2])
OUTPUTS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)) * 3
TARGETS = torch.from_numpy(LABELS)


def loss(**options: Any) -> torch.Tensor:
    return create_loss(TASK, ImbalanceConfig(**options), LABELS)(OUTPUTS, TARGETS)


def test_balanced_weights_are_scikit_learn_s() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(class_weights("balanced", CLASSES, LABELS), expected)
    without = class_weights("balanced", ("none", *CLASSES), LABELS + 1)
    assert without is not None
    np.testing.assert_allclose(without[1:], expected, err_msg="a class without examples changes nothing")


def test_weights_by_name_are_one_on_average_over_the_examples() -> None:
    found = class_weights("c:6,a:2", CLASSES, LABELS)
    assert found is not None
    assert found[LABELS].mean() == pytest.approx(1)
    np.testing.assert_allclose(found / found[1], [2, 1, 6])
    assert class_weights("none", CLASSES, LABELS) is None


def test_a_weighted_mean_is_divided_by_the_number_of_examples() -> None:
    weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(3), y=LABELS), dtype=torch.float32)
    expected = functional.cross_entropy(OUTPUTS, TARGETS, weight=weights, reduction="sum") / 10
    torch.testing.assert_close(loss(class_weights="balanced"), expected)
    pieces = create_loss(TASK, ImbalanceConfig(class_weights="balanced"), LABELS)
    halves = [pieces(OUTPUTS[part], TARGETS[part]) for part in (slice(0, 4), slice(4, 10))]
    torch.testing.assert_close(0.4 * halves[0] + 0.6 * halves[1], expected, msg="pieces of a batch make up the batch")


def test_smoothing_is_torch_s() -> None:
    torch.testing.assert_close(loss(label_smoothing=0.2), functional.cross_entropy(OUTPUTS, TARGETS, label_smoothing=0.2))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_is_its_formula(gamma: float) -> None:
    p = OUTPUTS.double().softmax(1)[torch.arange(10), TARGETS]
    expected = (-((1 - p) ** gamma) * p.log()).mean().float()
    torch.testing.assert_close(loss(loss="focal", focal_gamma=gamma), expected)
    smoothed = loss(loss="focal", focal_gamma=0.0, label_smoothing=0.1)
    torch.testing.assert_close(smoothed, functional.cross_entropy(OUTPUTS, TARGETS, label_smoothing=0.1))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_of_sure_answers_has_a_gradient(gamma: float) -> None:
    outputs = torch.tensor([[200.0, 0.0, 0.0], [-200.0, 0.0, 0.0]], requires_grad=True)
    create_loss(TASK, ImbalanceConfig(loss="focal", focal_gamma=gamma))(outputs, torch.tensor([0, 0])).backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert outputs.grad[1].abs().sum() > 0.4


def test_two_classes_by_a_cosine_are_weighted_too() -> None:
    task, targets = ThresholdTask(("a", "b")), torch.tensor([0.0, 0.0, 0.0, 1.0])
    outputs = torch.tensor([[0.1], [0.2], [0.3], [0.4]])
    found = create_loss(task, ImbalanceConfig(class_weights="balanced"), targets.numpy())(outputs, targets)
    assert float(found) == pytest.approx((2 / 3 * (0.01 + 0.04 + 0.09) + 2 * 0.36) / 4)


def test_a_solved_probe_weighs_as_scikit_learn_does() -> None:
    generator = np.random.default_rng(0)
    features = (generator.normal(3, [0.1, 1, 10], (60, 3))).astype(np.float32)
    labels = (np.arange(60) % 6 == 0).astype(np.int64)
    weights = class_weights("balanced", ("a", "b"), labels)
    assert weights is not None
    found = create_strategy("linear_probe", {}).solve(features, labels, 2, weights[labels].astype(np.float32))
    peer = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=10_000))
    peer.fit(features.astype(float), labels)
    np.testing.assert_allclose(softmax(features @ found.weight.T + found.bias), peer.predict_proba(features), atol=1e-4)


WEIGHTED = {"class_weights": "bad:1,good:3", "label_smoothing": 0.1, "loss": "focal"}


def test_heads_that_train_together_train_by_the_same_loss(tiny, tmp_path, watch) -> None:
    from pipeline.training.checkpoints import trained_state
    from pipeline.training.vmapped_heads import fit_heads

    states = []
    for options in (WEIGHTED, {}):
        config = tiny.config(dropout=0.0, **options)
        built = tiny.build(create_strategy("head_only", {}), tiny.folder(), config)
        tiny.fit(built, config, tmp_path / str(len(states)), rows=24)
        states.append(trained_state(built.model, built.parameters))
    again = tiny.build(create_strategy("head_only", {}), tiny.folder(), tiny.config(dropout=0.0))
    config = tiny.config(dropout=0.0, **WEIGHTED)
    (together,) = fit_heads(tiny.plan(again, config, tmp_path / "heads", 24), [config], watch())
    for name, weight in together.weights.items():
        torch.testing.assert_close(weight, states[0][name], rtol=1e-4, atol=1e-4)
    assert not all(torch.allclose(states[0][name], states[1][name], atol=1e-3) for name in states[0])


SCORES = Problem((), (0.0, 5.0))
NAMES = Problem(CLASSES)
REFUSED = [
    ({"loss": "focall"}, TASK, NAMES, "full", r"--loss: Unknown loss 'focall'\. Did you mean 'focal'"),
    ({"loss": "focal"}, RegressionTask(0, 5), SCORES, "full", "--loss focal: is of other outputs .* mean_squared_error"),
    ({"loss": "mean_squared_error"}, TASK, NAMES, "full", "choose cross_entropy, focal"),
    ({"focal_gamma": 3}, TASK, NAMES, "full", r"--focal-gamma 3\.0: training is by cross_entropy.* choose --loss focal"),
    ({"label_smoothing": 0.1}, ThresholdTask(("a", "b")), Problem(("a", "b")), "full", "training is by mean_squared_error"),
    ({"class_weights": "balanced"}, RegressionTask(0, 5), SCORES, "full", "scores and no classes"),
    ({"class_weights": "a:2,d:1"}, TASK, NAMES, "full", "d is not among the classes a, b, c"),
    ({"loss": "focal"}, TASK, NAMES, "linear_probe", "--strategy linear_probe: solves for .* not for --loss focal"),
    ({"label_smoothing": 0.1}, TASK, NAMES, "linear_probe", "not for --label-smoothing 0.1"),
]


@pytest.mark.parametrize(("options", "task", "problem", "strategy", "message"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_means_nothing_is_refused(options, task, problem, strategy, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check_loss(task, ImbalanceConfig(**options), problem, create_strategy(strategy, {}))


def test_what_means_something_is_not() -> None:
    for strategy in ("full", "linear_probe"):
        check_loss(TASK, ImbalanceConfig(class_weights="c:3"), NAMES, create_strategy(strategy, {}))
    check_loss(TASK, ImbalanceConfig(loss="focal", label_smoothing=0.1, focal_gamma=1), NAMES, create_strategy("lora", {}))


@pytest.mark.parametrize(
    ("given", "value"), [("b:1, a:2.0", "a:2,b:1"), ({"b": 1, "a": 2}, "a:2,b:1"), ("balanced", "balanced"), ("x:y:2", "x:y:2")]
)
def test_weights_have_one_spelling(given: Any, value: str) -> None:
    assert TrainConfig(class_weights=given).class_weights == value


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("class_weights", "a=2", "Give none, balanced, or classes with weights above 0, such as a:2,b:1"),
        ("class_weights", "a:2,a:3", "Give none, balanced"),
        ("class_weights", "a:0", "Give none, balanced"),
        ("decision_threshold", "1.5", "Give argmax, f1, or a probability between 0 and 1"),
        ("label_smoothing", "1", "Give a number at least 0 and less than 1"),
    ],
)
def test_what_cannot_be_read_is_refused(option: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        configure(TrainConfig, {option: value})
