"""The training loop: going on after an interruption, stopping, choosing the best checkpoint."""

import dataclasses
import json
import os
import signal

import pytest
import torch

from pipeline import interruption
from pipeline.config.fields import config_class
from pipeline.errors import TrainingError
from pipeline.strategies.base import Strategy, create_strategy
from pipeline.training import loop
from pipeline.training.checkpoints import CheckpointFolder, trained_state
from pipeline.training.distributed import DistributedContext
from pipeline.training.inference import predict_logits

ROWS, STEPS = 40, 5  # examples, and steps per epoch in batches of 8


LESS_MEMORY = {
    "gradient_accumulation_steps": 3,
    "gradient_checkpointing": True,
    "optimizer": "adafactor",
    "lr_scheduler_type": "cosine",
}


class InterruptedTrainingError(Exception):
    """What a test raises in place of a loss of power."""


@pytest.fixture
def prepare(tiny, tmp_path, watch):
    """Builds a model afresh, as a new process would, and returns what trains it."""

    def prepare(strategy="full", folder="run", watcher=None, **options):
        config = tiny.config(**options)
        built = tiny.build(create_strategy(strategy, {}), tiny.folder(), config)
        checkpoints = tmp_path / folder
        return built, lambda: tiny.fit(built, config, checkpoints, rows=ROWS, watcher=watcher or watch())

    return prepare


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("strategy", "others", "interrupted_at"),
    [
        *(pytest.param(name, {}, step, id=f"step_{step}-{name}") for name in ("full", "lora") for step in (4, 5, 8, 13)),
        pytest.param("full", LESS_MEMORY, 8, id="step_8-full-less-memory"),
    ],
)
def test_an_interrupted_training_ends_bit_equal(prepare, watch, tmp_path, strategy, others, interrupted_at):
    options = {"strategy": strategy, "epochs": 3, "eval_steps": 3, "logging_steps": 2, "dropout": 0.2, **others}
    whole = watch()
    built, train = prepare(folder="whole", watcher=whole, **options)
    expected = train()

    def interrupt(step):
        if step == interrupted_at:
            raise InterruptedTrainingError

    first, second = watch(after_step=interrupt), watch()
    _, begin = prepare(folder="parts", watcher=first, **options)
    with pytest.raises(InterruptedTrainingError):
        begin()
    last = CheckpointFolder(tmp_path / "parts").steps()[-1]
    assert 0 < last < interrupted_at
    recorded = CheckpointFolder(tmp_path / "parts").history()
    resumed, go_on = prepare(folder="parts", watcher=second, **options)
    result = go_on()

    assert (result.resumed_from, expected.resumed_from) == (last, 0)
    assert same(trained_state(built.model, built.parameters), trained_state(resumed.model, resumed.parameters))
    assert recorded + second.logs == whole.logs
    assert second.steps == list(range(last + 1, 3 * STEPS + 1))
    measured = ("best", "best_step", "steps", "train_loss_mean", "examples", "tokens", "flops")
    assert {name: getattr(result, name) for name in measured} == {name: getattr(expected, name) for name in measured}


@pytest.fixture
def listening():
    """Signals are answered as on the command line."""
    before = {number: signal.getsignal(number) for number in interruption.ASKING}
    interruption.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("asked_at", [1, 4, 5, 9, 11])
@pytest.mark.parametrize("while_scoring", [False, True], ids=["after-a-step", "while-scoring"])
def test_who_is_asked_to_end_leaves_a_checkpoint_of_the_last_step(
    prepare, watch, tmp_path, monkeypatch, listening, asked_at, while_scoring
):
    options = {"epochs": 3, "eval_steps": 4, "logging_steps": 3, "dropout": 0.2}
    whole, first, second = watch(), watch(), watch()
    built, train = prepare(folder="whole", watcher=whole, **options)
    expected = train()

    def ask(*_):
        if first.steps[-1] >= asked_at:
            os.kill(os.getpid(), signal.SIGTERM)

    _, begin = prepare(folder="parts", watcher=first, **options)
    with monkeypatch.context() as patch:
        if while_scoring:
            patch.setattr(loop, "predict_logits", lambda *arguments: ask() or predict_logits(*arguments))
        else:
            first.after_step = ask
        with pytest.raises(interruption.Interrupted):
            begin()
    left = CheckpointFolder(tmp_path / "parts")
    last = left.find_usable()
    assert last == first.steps[-1] == (-(-asked_at // 4) * 4 if while_scoring else asked_at)
    resumed, go_on = prepare(folder="parts", watcher=second, **options)
    result = go_on()
    assert result.resumed_from == last
    assert second.steps == list(range(last + 1, 3 * STEPS + 1))
    assert same(trained_state(built.model, built.parameters), trained_state(resumed.model, resumed.parameters))
    assert first.logs + second.logs == whole.logs
    measured = ("best", "best_step", "train_loss_mean", "examples", "tokens", "flops")
    assert {name: getattr(result, name) for name in measured} == {name: getattr(expected, name) for name in measured}


def test_processes_that_train_together_heed_a_signal_where_they_agree(prepare, watch, tmp_path, monkeypatch, listening):
    class Together(DistributedContext):
        """As `ProcessGroup` answers: between logging points nobody is asked."""

        def agree(self, question, now):
            return now and question()

    monkeypatch.setattr(loop, "find_context", lambda number: Together())
    watcher = watch(after_step=lambda step: step == 4 and os.kill(os.getpid(), signal.SIGTERM))
    _, train = prepare(epochs=3, eval_steps=8, logging_steps=3, watcher=watcher)
    with pytest.raises(interruption.Interrupted):
        train()
    assert CheckpointFolder(tmp_path / "run").steps() == [6]


def test_a_finished_training_is_not_trained_again(prepare, watch):
    built, train = prepare(epochs=2)
    train()
    watcher = watch()
    again, resume = prepare(epochs=2, watcher=watcher)
    assert resume().resumed_from == 2 * STEPS
    assert watcher.steps == []
    assert same(trained_state(built.model, built.parameters), trained_state(again.model, again.parameters))


def test_an_observer_can_stop_it(prepare, watch):
    watcher = watch(stops_at=3)
    _, train = prepare(epochs=2, watcher=watcher)
    result = train()
    assert (result.steps, result.total_steps, result.best_step) == (3, 2 * STEPS, 3)
    assert watcher.logs[-1][0] == 3
    assert "val/accuracy" in watcher.logs[-1][1]
    _, again = prepare(epochs=2)
    assert again().steps == 3, "stopped is as good as finished"


def test_who_stops_it_on_hearing_scores_is_heeded_at_once_and_after_a_kill(prepare, watch):
    watcher = watch()
    watcher.should_stop = lambda: any("val/accuracy" in metrics for _, metrics in watcher.logs)
    _, train = prepare(epochs=2, eval_steps=3, logging_steps=2, watcher=watcher)
    assert train().steps == 3
    assert watcher.steps == [1, 2, 3]
    assert [step for step, metrics in watcher.logs if "val/accuracy" in metrics] == [3], "nothing is evaluated again"
    after = watch()
    _, again = prepare(epochs=2, eval_steps=3, logging_steps=2, watcher=after)
    assert (again().steps, after.steps) == (3, [])


@pytest.mark.parametrize(("eval_steps", "evaluated"), [(None, [5, 10]), (4, [4, 8, 10]), (10, [10]), (99, [10])])
def test_evaluations_fall_due(prepare, watch, eval_steps, evaluated):
    watcher = watch()
    _, train = prepare(epochs=2, eval_steps=eval_steps, watcher=watcher)
    train()
    assert [step for step, metrics in watcher.logs if "val/f1_macro" in metrics] == evaluated


@pytest.mark.parametrize("eval_steps", [None, 3, 99])
def test_losses_are_logged_as_means_over_the_steps_between(prepare, watch, eval_steps):
    fine, coarse = watch(), watch()
    _, train = prepare(folder="fine", epochs=2, logging_steps=1, watcher=fine)
    result = train()
    again = prepare(folder="coarse", epochs=2, logging_steps=4, eval_steps=eval_steps, watcher=coarse)[1]()
    losses = [metrics["train/loss"] for _, metrics in fine.logs if "train/loss" in metrics]
    assert len(losses) == 2 * STEPS
    means = {step: metrics["train/loss"] for step, metrics in coarse.logs if "train/loss" in metrics}
    assert means == pytest.approx({4: sum(losses[:4]) / 4, 8: sum(losses[4:8]) / 4})
    assert result.train_loss_mean == pytest.approx(sum(losses) / len(losses))
    assert again.train_loss_mean == pytest.approx(result.train_loss_mean), "none is lost where an epoch ends between"


@pytest.fixture
def scripted(monkeypatch):
    """Replaces the validation scores by given ones, in order."""

    def script(name, values):
        scores = iter(values)
        others = {"accuracy": 0.5, "precision_macro": 0.5, "recall_macro": 0.5, "f1_macro": 0.5, "loss": 1.0}
        monkeypatch.setattr(
            "pipeline.evaluation.task.ClassificationTask.score", lambda *arguments: {**others, name: next(scores)}
        )

    return script


@pytest.mark.parametrize(
    ("metric", "values", "best"), [("accuracy", [0.6, 0.9, 0.7, 0.9], 2), ("loss", [3.0, 2.0, 1.0, 4.0], 3)]
)
def test_the_best_checkpoint_is_loaded_at_the_end(prepare, watch, scripted, metric, values, best):
    scripted(metric, values)
    weights = {}
    watcher = watch(after_step=lambda step: weights.update({step: trained_state(built.model, built.parameters)}))
    built, train = prepare("partial", epochs=4, eval_steps=STEPS, metric_for_best_model=metric, watcher=watcher)
    result = train()
    assert result.best_step == best * STEPS
    assert result.best[metric] == values[best - 1]
    final = trained_state(built.model, built.parameters)
    assert same(final, weights[best * STEPS])
    assert not same(final, weights[4 * STEPS])


@pytest.mark.parametrize(("patience", "ends_after"), [(None, 6), (1, 3), (2, 6), (3, 6)], ids=lambda value: f"{value}")
def test_patience_ends_training(prepare, scripted, patience, ends_after):
    scripted("accuracy", [0.5, 0.6, 0.6, 0.7, 0.6, 0.6])
    _, train = prepare(epochs=6, early_stopping_patience=patience)
    assert train().steps == ends_after * STEPS


@pytest.mark.parametrize("every", [1, 5])
def test_a_loss_that_is_no_number_is_an_error(prepare, every):
    _, train = prepare(epochs=2, learning_rate=1e30, logging_steps=every)
    with pytest.raises(TrainingError, match=r"became (nan|inf) by step \d+\. Lower --learning-rate"):
        train()


def test_a_validation_loss_that_is_no_number_is_an_error(prepare, scripted):
    scripted("loss", [0.5, float("nan")])
    _, train = prepare(epochs=3, metric_for_best_model="loss")
    with pytest.raises(TrainingError, match=r"The validation loss became nan by step \d+\. Lower --learning-rate"):
        train()


@config_class
class Watching(Strategy):
    """Trains everything and keeps what it is told."""

    def after_step(self, model, step):
        calls.append((model, step, all(parameter.grad is not None for parameter in model.parameters())))


calls: list[tuple[object, int, bool]] = []


def test_the_strategy_is_called_after_every_step_while_the_gradients_are_there(tiny, tmp_path):
    calls.clear()
    config = tiny.config(epochs=2)
    built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
    tiny.fit(built, config, tmp_path, rows=ROWS, strategy=Watching())
    assert calls == [(built.model, step, True) for step in range(1, 2 * STEPS + 1)]


def test_checkpoints_hold_the_newest_and_the_best_only(prepare, scripted, tmp_path):
    scripted("accuracy", [0.5, 0.9, 0.6, 0.7])
    _, train = prepare(epochs=4)
    train()
    folder = CheckpointFolder(tmp_path / "run")
    assert folder.steps() == [2 * STEPS, 4 * STEPS]
    assert {file.name for file in (folder.path / f"step-{4 * STEPS}").iterdir()} == {
        "trained.safetensors",
        "optimizer.pt",
        "checksums.json",
        "progress.json",
    }
    json.loads((folder.path / f"step-{4 * STEPS}" / "progress.json").read_text())


def test_the_last_checkpoint_does_without_the_optimizer_and_ends_the_same(prepare, tmp_path):
    built, train = prepare(epochs=2)
    ended, weights = train(), trained_state(built.model, built.parameters)
    weights_file = tmp_path / "run" / f"step-{2 * STEPS}" / "trained.safetensors"
    assert weights_file.with_name("optimizer.pt").stat().st_size < weights_file.stat().st_size / 2
    built, train = prepare(epochs=2)
    assert train() == dataclasses.replace(ended, resumed_from=2 * STEPS)
    assert same(trained_state(built.model, built.parameters), weights)


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_step_that_overflowed_in_fp16_is_none_to_the_strategy(tiny, tmp_path, monkeypatch, pieces):
    plain, overflows = loop.make_accelerator, [torch.inf, 1.0, 1.0]

    def with_scaler(precision):
        accelerator = plain(precision)
        accelerator.scaler = torch.amp.GradScaler("cpu")

        def unscale():
            optimizer = accelerator._optimizers[0].optimizer
            optimizer.param_groups[0]["params"][0].grad *= overflows.pop(0)
            accelerator.scaler.unscale_(optimizer)

        accelerator.unscale_gradients = unscale
        return accelerator

    monkeypatch.setattr(loop, "make_accelerator", with_scaler)
    calls.clear()
    config = tiny.config(epochs=3, gradient_accumulation_steps=pieces)
    built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
    tiny.fit(built, config, tmp_path, strategy=Watching())
    assert [step for _, step, _ in calls] == [2, 3]
    assert not overflows, "gradients of a step are unscaled once, all its pieces together"


@pytest.mark.parametrize(("cuda", "cpu"), [(True, False), (False, True)])
def test_the_cpu_is_taken_where_there_is_no_cuda(monkeypatch, cuda, cpu):
    asked = {}
    monkeypatch.setattr("accelerate.Accelerator", lambda **options: asked.update(options))
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    loop.make_accelerator("bf16")
    assert asked == {"mixed_precision": "bf16", "cpu": cpu}
