"""Memory that does not suffice: said with what was too large, or helped by smaller pieces of the same batches."""

import re
from dataclasses import replace

import pytest
import torch

from pipeline.config import TrainConfig
from pipeline.config.identity import identify, settings_hash
from pipeline.data.batching import load_batch
from pipeline.errors import ConfigError, SystemFailureError
from pipeline.modeling.split_model import SplitModel
from pipeline.strategies.base import create_strategy
from pipeline.training import inference
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.checkpoints import trained_state
from pipeline.training.distributed import check_pieces
from pipeline.training.loop import fit
from pipeline.training.vmapped_heads import fit_heads
from pipeline.training.vmapped_modules import StackedAdamW

ROWS, BATCH = 24, 8


def on_the_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def on_the_cpu():
    torch.empty(2**60)  # what torch itself says


def in_python():
    raise MemoryError


@pytest.fixture
def train(tiny, tmp_path, watch):
    """Trains on a machine with room for so many examples; gives result, logs and weights."""

    def train(room=BATCH, raises=on_the_gpu, strategy="full", after=0, watcher=None, folder=None, cached=False, **options):
        config = tiny.config(batch_size=BATCH, **{"epochs": 2, **options})
        built = tiny.build(create_strategy(strategy, {}), tiny.folder(), config)
        watcher = watcher or watch()

        def allocate(module, inputs):
            if module.training and len(inputs[0]) > room and len(watcher.steps) >= after:
                raises()

        head = next(module for name, module in built.model.named_modules() if name.endswith("classifier"))
        head.register_forward_pre_hook(allocate)
        folder = folder or tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        cache = {"activation_cache": ActivationCache(folder / "states", 10**8), "base_identity": "tiny"} if cached else {}
        plan = tiny.plan(built, config, folder, rows=ROWS, **cache)
        result = fit(plan, watcher)
        return result, watcher.logs, trained_state(plan.model, plan.parameters)

    return train


def assert_equal(weights, others):
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize(("strategy", "raises"), [("full", on_the_gpu), ("partial", on_the_cpu), ("lora", in_python)])
def test_a_batch_is_halved_until_it_fits_and_trains_as_if_it_had_been_cut_before(train, caplog, strategy, raises):
    result, logs, weights = train(2, raises, strategy, auto_batch=True, dropout=0.1)
    expected, same_logs, same_weights = train(strategy=strategy, gradient_accumulation_steps=4, dropout=0.1)
    assert (result.figures, expected.figures) == ({"cost/micro_batch": 2}, {})
    assert logs == same_logs
    assert_equal(weights, same_weights)
    assert [record.getMessage() for record in caplog.records] == [
        "The memory does not suffice for 8 examples at a time: from step 1 on, a batch is computed in 2 pieces.",
        "The memory does not suffice for 4 examples at a time: from step 1 on, a batch is computed in 4 pieces.",
    ]
    assert result.flops == expected.flops


def test_the_batch_and_so_the_result_stays(train):
    whole, logs, weights = train(dropout=0.0)
    pieces, other_logs, others = train(3, auto_batch=True, dropout=0.0)
    assert (pieces.figures, pieces.steps) == ({"cost/micro_batch": 2}, whole.steps)
    for (step, metrics), (other_step, other) in zip(logs, other_logs, strict=True):
        assert step == other_step
        assert other == pytest.approx(metrics, abs=2e-5)
    # A bias of the keys has rounding for a gradient, which AdamW makes as large as any.
    told = [name for name in weights if not name.endswith("key.bias")]
    assert all(torch.allclose(weights[name], others[name], atol=2e-4) for name in told)


def test_with_enough_memory_nothing_changes(train):
    _, logs, weights = train()
    result, same_logs, same = train(auto_batch=True)
    assert result.figures == {"cost/micro_batch": BATCH}
    assert logs == same_logs
    assert_equal(weights, same)


def test_an_interrupted_training_goes_on_in_the_pieces_that_it_had(train, tmp_path, watch):
    options = {"auto_batch": True, "dropout": 0.1, "eval_steps": 1, "logging_steps": 1}
    expected, _, weights = train(4, after=2, **options)
    folder = tmp_path / "interrupted"

    def die(step):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(4, after=2, watcher=watch(after_step=die), folder=folder, **options)
    result, _, same = train(folder=folder, **options)  # where there is room now
    assert result.figures == expected.figures == {"cost/micro_batch": 4}
    assert result.resumed_from == 4
    assert_equal(weights, same)


def test_an_evaluation_that_does_not_fit_is_begun_again_and_training_goes_on(train, monkeypatch):
    options = {"auto_batch": True, "dropout": 0.1, "eval_steps": 1}
    expected, _, weights = train(4, after=1, **options)  # its second batch does not fit
    loaded = []

    def load(examples, indices, device):
        loaded.append(indices)
        if len(loaded) == 1:
            on_the_gpu()
        return load_batch(examples, indices, device)

    monkeypatch.setattr(inference, "load_batch", load)
    result, _, same = train(**options)
    assert result.figures == expected.figures == {"cost/micro_batch": 4}
    assert_equal(weights, same)


@pytest.mark.parametrize("strategy", ["setfit", "linear_probe"])
def test_texts_that_a_classifier_is_solved_for_fit_too(train, monkeypatch, strategy):
    room, sizes = 60, []

    def load(examples, indices, device):
        sizes.append(len(indices) * int(examples.lengths[indices].max()))
        if sizes[-1] > room:
            on_the_gpu()
        return load_batch(examples, indices, device)

    monkeypatch.setattr(inference, "load_batch", load)
    with pytest.raises(SystemFailureError, match="does not fit into the memory"):
        train(strategy=strategy, epochs=1)
    sizes.clear()
    train(strategy=strategy, epochs=1, auto_batch=True)
    assert sizes[0] > room >= max(sizes[-3:])


def test_hidden_states_that_do_not_fit_are_computed_in_smaller_batches(train, monkeypatch):
    sizes = []

    def run_lower(self, **inputs):
        sizes.append(len(inputs["input_ids"]))
        if len(sizes) == 1:
            in_python()
        return computed(self, **inputs)

    computed = SplitModel.run_lower
    monkeypatch.setattr(SplitModel, "run_lower", run_lower)
    result, _, _ = train(strategy="head_only", auto_batch=True, cached=True)
    assert result.figures == {"cost/micro_batch": 4}
    assert max(sizes[1:]) < sizes[0]


GENERAL = "the memory, or into the limit that is set for this process"
HINT = "What fits is said by train --dry-run true --device-memory-gb 8, or however many GiB there are."
OTHERWISE = f"or end other programs, or raise the limit. Then run the same command again. {HINT}"


def test_what_does_not_fit_is_said_with_what_helps(train):
    with pytest.raises(SystemFailureError) as caught:
        train(4, on_the_gpu, "lora", gradient_checkpointing=True)
    longest = re.search(r"up to (\d+) tokens", str(caught.value))[1]
    assert str(caught.value) == (
        f"--strategy lora with batches of 8 examples of up to {longest} tokens does not fit into the memory of the GPU. "
        f"Give --auto-batch true, --gradient-accumulation-steps 2, a --max-length below {longest} or a strategy that trains "
        f"less; or end what else uses the GPU. Then run the same command again. {HINT}"
    )
    assert caught.value.exit_status == 1
    with pytest.raises(SystemFailureError) as caught:
        train(2, in_python, gradient_accumulation_steps=2)
    assert str(caught.value) == (
        f"--strategy full with batches of 8 examples of up to {longest} tokens, 4 at a time does not fit into {GENERAL}. "
        "Give --auto-batch true, --gradient-accumulation-steps 4, --gradient-checkpointing true, "
        f"a --max-length below {longest} or a strategy that trains less; {OTHERWISE}"
    )


def test_a_single_example_cannot_be_cut(train):
    with pytest.raises(SystemFailureError) as caught:
        train(0, on_the_cpu, auto_batch=True)
    assert f"tokens does not fit into {GENERAL}. Give --gradient-checkpointing true, a --max-length below" in str(caught.value)


def test_a_step_of_the_optimizer_is_not_taken_twice(train, monkeypatch):
    steps = []

    def step(self, closure=None):
        steps.append(1)
        on_the_gpu()

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(SystemFailureError, match="--strategy full with batches of 8 examples"):
        train(auto_batch=True)
    assert len(steps) == 1


def test_of_heads_that_train_at_once_their_number_is_said(tiny, tmp_path, watch, monkeypatch):
    config = tiny.config(batch_size=BATCH, auto_batch=True)
    plan = tiny.plan(tiny.build(create_strategy("head_only", {}), tiny.folder(), config), config, tmp_path, rows=ROWS)
    monkeypatch.setattr(StackedAdamW, "step", lambda self, rates: in_python())
    with pytest.raises(SystemFailureError) as caught:
        fit_heads(plan, [config, replace(config, learning_rate=1e-2)], watch())
    assert "tokens, in 2 trainings at once does not fit into" in str(caught.value)
    assert "Give --gradient-accumulation-steps 2, --gradient-checkpointing true," in str(caught.value)


def test_another_error_is_none_of_memory(train):
    def fail():
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        train(4, fail, auto_batch=True)


def test_several_processes_are_refused():
    with pytest.raises(ConfigError, match=r"--auto-batch true with --num-processes 2: where one process runs out of memory"):
        check_pieces(TrainConfig(auto_batch=True, num_processes=2))


def test_older_runs_are_known_as_ever():
    assert "auto_batch" not in identify(TrainConfig())
    automatic = replace(TrainConfig(), auto_batch=True)
    assert settings_hash(automatic) != settings_hash(TrainConfig())
