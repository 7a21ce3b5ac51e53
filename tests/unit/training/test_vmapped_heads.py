"""Heads that train together against each of them by itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_models import in_tiers

from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.modeling.family import list_model_types
from pipeline.strategies.base import create_strategy, list_encoder_strategies
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.checkpoints import trained_state
from pipeline.training.vmapped_heads import differ_in_optimization_only, fit_heads, trains_head_alone

ROWS = 40
POINTS = [
    {"learning_rate": 1e-2, "batch_size": 8, "epochs": 2},
    {"learning_rate": 3e-3, "batch_size": 16, "epochs": 3, "weight_decay": 0.5},
    {"learning_rate": 3e-2, "batch_size": 8, "epochs": 3, "warmup_ratio": 0.3, "max_grad_norm": 0.05},
    {"learning_rate": 1e-3, "batch_size": 8, "epochs": 1, "eval_steps": 2, "logging_steps": 3},
    {"learning_rate": 5e-2, "batch_size": 16, "epochs": 6, "early_stopping_patience": 1, "metric_for_best_model": "f1_macro"},
]


@pytest.fixture
def prepare(tiny, tmp_path):
    """Builds a head on a frozen encoder, as a new process would, and what its training needs."""

    def prepare(family="bert", strategy="head_only", cached=True, **options):
        config = tiny.config(**options)
        built = tiny.build(create_strategy(strategy, {}), tiny.folder(family), config)
        cache = ActivationCache(tmp_path / "hidden_states", 10**8) if cached else None
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        return tiny.plan(built, config, folder, ROWS, activation_cache=cache, base_identity=family)

    return prepare


@pytest.fixture
def alone(prepare, watch):
    """Trains one point by itself: its result, what its observer was told, and its weights."""

    def alone(**options):
        from pipeline.training.loop import fit

        plan, watcher = prepare(**options), watch()
        result = fit(plan, watcher)
        return result, watcher.logs, trained_state(plan.model, plan.parameters)

    return alone


def assert_same(found, expected, exact=()):
    result, logs, weights = expected
    assert found.error is None
    for name in ("best_step", "steps", "total_steps", "examples", "tokens", "flops"):
        assert getattr(found.result, name) == getattr(result, name), name
    assert found.result.train_loss_mean == pytest.approx(result.train_loss_mean, rel=1e-5)
    assert found.result.best == pytest.approx(dict(result.best), rel=1e-4)
    assert [step for step, _ in found.history] == [step for step, _ in logs]
    for (step, own), (_, other) in zip(found.history, logs, strict=True):
        assert own == pytest.approx(other, rel=1e-4), step
    assert found.weights.keys() == weights.keys()
    for name, weight in weights.items():
        # AdamW makes whole steps of gradients that are nothing but rounding.
        torch.testing.assert_close(found.weights[name], weight, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("family", in_tiers(list_model_types()))
def test_each_is_what_it_is_by_itself(tiny, prepare, alone, watch, family):
    points = [{**point, "dropout": dropout} for point, dropout in zip(POINTS, (0.0, 0.1, 0.3, 0.5, 0.1), strict=True)]
    plan = prepare(family)
    before = trained_state(plan.model, plan.parameters)
    found = fit_heads(plan, [tiny.config(**point) for point in points], watch())
    assert len(found) == len(points)
    for own, point in zip(found, points, strict=True):
        assert_same(own, alone(family=family, **point))
        assert not any(torch.equal(own.weights[planned.name], before[planned.name]) for planned in plan.parameters.trainable)
    after = trained_state(plan.model, plan.parameters)
    assert all(torch.equal(before[name], after[name]) for name in before), "the model is as it was"
    assert found[-1].result.steps < found[-1].result.total_steps, "patience ended it"


@pytest.mark.parametrize(
    "options", [{"cached": False}, {"seed": 5}, {"gradient_accumulation_steps": 3, "lr_scheduler_type": "cosine"}], ids=str
)
def test_it_holds_without_the_cache_for_other_seeds_and_in_pieces(tiny, prepare, alone, watch, options):
    point = {**POINTS[0], "dropout": 0.0}
    given = {name: value for name, value in options.items() if name != "cached"}
    (found,) = fit_heads(prepare(dropout=0.0, **options), [tiny.config(**point, **given)], watch())
    assert_same(found, alone(**point, **options))


def test_heads_of_label_sets_are_what_they_are_by_themselves(tiny, prepare, watch):
    from pipeline.training.loop import fit

    def plan_sets(**point):
        plan = prepare(**point, dropout=0.0, label_type="multi", metric_for_best_model="f1_macro")
        train, validation = (
            replace(table, labels=np.eye(2, dtype=np.float32)[table.labels] * (np.arange(len(table)) % 3 > 0)[:, None])
            for table in (plan.train, plan.validation)
        )
        return replace(plan, task=MultiLabelTask(tiny.classes), train=train, validation=validation)

    points = POINTS[:2]
    found = fit_heads(plan_sets(), [plan_sets(**point).config for point in points], watch())
    for own, point in zip(found, points, strict=True):
        plan, watcher = plan_sets(**point), watch()
        assert_same(own, (fit(plan, watcher), watcher.logs, trained_state(plan.model, plan.parameters)))
        assert {"threshold_1", "threshold_2"} <= own.result.best.keys()


def test_dropout_has_each_points_own_probability(tiny, prepare, watch):
    """A pooled state x and a linear head: with dropout p the logits scatter with variance proportional to p / (1 - p)."""
    from pipeline.modeling.split_model import SplitModel
    from pipeline.training.vmapped_modules import Stack

    plan = prepare()
    probabilities = [0.0, 0.1, 0.4]
    stack = Stack(plan.model, plan.parameters, probabilities)
    states = torch.randn(1, 1, plan.encoder.hidden_size, generator=torch.Generator().manual_seed(0)).expand(4000, 1, -1)
    inputs = {"inputs_embeds": states, "attention_mask": torch.ones(4000, 1, dtype=torch.int64)}
    torch.manual_seed(0)
    with SplitModel(plan.model, plan.encoder, plan.encoder.depth).upper_only(), torch.no_grad():
        logits = stack.train()(**inputs).logits
        exact = stack.eval()(**inputs).logits
    assert (exact == exact[:1, :1]).all(), "no dropout in evaluation"
    torch.testing.assert_close(logits.mean(0), exact[0], rtol=0.05, atol=0.05)
    variance = logits.var(0).mean(-1)
    assert variance[0] == pytest.approx(0, abs=1e-10)
    assert variance[2] / variance[1] == pytest.approx((0.4 / 0.6) / (0.1 / 0.9), rel=0.1)


def test_masks_do_not_depend_on_what_trains_beside(tiny, prepare, watch):
    point = tiny.config(learning_rate=3e-2, dropout=0.3)
    few, many = (fit_heads(prepare(), [point, *[tiny.config(dropout=0.1)] * others], watch())[0] for others in (1, 3))
    other = fit_heads(prepare(), [tiny.config(learning_rate=3e-2, dropout=0.3, dropout_seed=5)] * 2, watch())[0]
    assert few.result.train_loss_mean == pytest.approx(many.result.train_loss_mean, rel=1e-5)
    assert few.result.train_loss_mean != pytest.approx(other.result.train_loss_mean, rel=1e-3)


def test_a_loss_that_is_no_number_fails_its_own_point_only(tiny, prepare, alone, watch):
    points = [{"dropout": 0.0, "epochs": 2, "learning_rate": rate} for rate in (1e-2, 1e38, 3e-3)]
    found = fit_heads(prepare(dropout=0.0), [tiny.config(**point) for point in points], watch())
    assert "Lower --learning-rate" in str(found[1].error)
    assert found[1].result is None
    for position in (0, 2):
        assert_same(found[position], alone(**points[position]))


def test_a_validation_loss_that_is_no_number_does_so_too(tiny, prepare, watch, monkeypatch):
    losses = iter([float("nan"), 0.5])
    monkeypatch.setattr(
        "pipeline.evaluation.task.ClassificationTask.score", lambda *arguments: {"accuracy": 0.5, "loss": next(losses)}
    )
    ruined, fine = fit_heads(prepare(), [tiny.config(epochs=1, learning_rate=rate) for rate in (1e-2, 1e-3)], watch())
    assert "The validation loss became nan" in str(ruined.error)
    assert fine.result.best["loss"] == 0.5


def test_seconds_are_shared(tiny, prepare, watch):
    watcher = watch()
    configs = [tiny.config(**point) for point in POINTS]
    found = fit_heads(prepare(), configs, watcher)
    assert all(each.result.train_seconds > 0 for each in found)
    assert (found[0].result.cache, len({each.result.cache_seconds for each in found})) == ("built", 1)
    longest = max(found[1].result.steps, found[4].result.steps)
    assert watcher.steps == [*range(1, 3 * 5 + 1), *range(1, longest + 1)], "one batch size after the other"


FITTING = {
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 8},
    "road": {"group_size": 8},
    "waveft": {"n_frequency": 8},
}
"""Arguments of strategies whose defaults are larger than the tiny encoder's layers."""


def test_which_strategies_train_the_head_alone(tiny):
    alone = set()
    for name in list_encoder_strategies():
        if name in ("gradual", "qlora"):
            continue
        built = tiny.build(create_strategy(name, FITTING.get(name, {})), tiny.folder(), tiny.config())
        if trains_head_alone(built.parameters, built.context.encoder, built.strategy, "fp32"):
            alone.add(name)
            assert not trains_head_alone(built.parameters, built.context.encoder, built.strategy, "fp16")
    assert alone == {"head_only"}


def test_points_must_agree_in_all_but_optimization(tiny):
    base = tiny.config()
    assert differ_in_optimization_only([base, *(tiny.config(**point) for point in POINTS)])
    assert differ_in_optimization_only([base, replace(base, lr_scheduler_type="cosine")])
    for other in ({"seed": 1}, {"max_length": 9}, {"precision": "bf16"}, {"model": "another"}, {"optimizer": "adafactor"}):
        assert not differ_in_optimization_only([base, replace(base, **other)])
    assert not differ_in_optimization_only([replace(base, optimizer="adafactor")] * 2), "heads are stepped by AdamW at once"


@pytest.mark.parametrize("cached", [True, False])
def test_states_are_those_of_a_training_by_itself_in_bf16_too(tiny, tmp_path, watch, cached):
    from pipeline.training.loop import fit

    kept, losses = [], []
    for train in (fit, lambda plan, callback: fit_heads(plan, [plan.config], callback)[0].result):
        config = tiny.config(precision="bf16", dropout=0.0)
        built = tiny.build(create_strategy("head_only", {}), tiny.folder(), config)
        folder = tmp_path / str(len(kept))
        cache = ActivationCache(folder, 10**8) if cached else None
        plan = tiny.plan(built, config, folder / "run", ROWS, activation_cache=cache, base_identity="bert", precision="bf16")
        losses.append(train(plan, watch()).train_loss_mean)
        kept.append({file.parent.name: file.read_bytes() for file in folder.glob("*/states.bin")})
    assert kept[0] == kept[1]
    assert len(kept[0]) == (2 if cached else 0)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3), "but for bf16's rounding in the head"
