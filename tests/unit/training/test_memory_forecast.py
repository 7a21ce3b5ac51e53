"""Peak memory foretold by a training's own steps on tensors without values."""

import gc
import importlib.util

import pytest
import torch

from pipeline.strategies.base import create_strategy, list_encoder_strategies
from pipeline.training.memory.forecast import forecast, largest_batch
from pipeline.training.memory.tensor_memory import KINDS, TensorMemory

ARGUMENTS = {
    "c3a": {"block_size": 8},
    "freeze_bottom": {"bottom": 1},
    "gradual": {"head_epochs": 1, "top_epochs": 1},
    "partial": {"top_k": 1},
    "road": {"group_size": 8},
    "waveft": {"n_frequency": 20},
}
needs_bitsandbytes = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
STEP_COUNT = 4  # bytes in which torch's AdamW counts the steps of a parameter


@pytest.fixture
def foretell(tiny, tmp_path):
    """Forecasts the training of a tiny BERT; gives the memory and the plan."""

    def foretell(strategy="full", rows=64, precision="fp32", **options):
        config = tiny.config(**{"batch_size": 8, "epochs": 3 if strategy == "gradual" else 1, **options})
        built = tiny.build(create_strategy(strategy, ARGUMENTS.get(strategy, {})), tiny.folder(), config)
        plan = tiny.plan(built, config, tmp_path, rows, precision=precision)
        return forecast(plan), plan

    return foretell


def buffers(model):
    return sum(buffer.nbytes for buffer in model.buffers())


@pytest.mark.parametrize("strategy", ["full", "partial", "bitfit", "lora", "head_only"])
def test_weights_gradients_and_moments_are_arithmetic(foretell, strategy):
    memory, plan = foretell(strategy, acceleration=("off",))
    parameters = plan.parameters
    assert memory.highest["weights"] == 4 * parameters.total_count + buffers(plan.model)
    assert memory.highest["gradients"] == 4 * parameters.trainable_count
    steps = len(parameters.trainable) * STEP_COUNT
    moments = memory.highest["optimizer"] - 8 * parameters.trainable_count - steps
    assert 0 <= moments <= 4 * parameters.trainable_count, "beside them only what clipping makes for a moment"
    assert memory.at_peak["optimizer"] == 8 * parameters.trainable_count + steps


@needs_bitsandbytes
def test_packed_weights_count_as_they_are_held(foretell):
    packed, whole = (foretell(strategy, acceleration=("off",))[0] for strategy in ("qlora", "lora"))
    assert packed.highest["weights"] < whole.highest["weights"]
    assert packed.highest["optimizer"] == whole.highest["optimizer"]


def test_adafactor_keeps_next_to_nothing(foretell):
    adamw, adafactor = (foretell(optimizer=name, acceleration=("off",))[0] for name in ("adamw", "adafactor"))
    assert adafactor.at_peak["optimizer"] < adamw.at_peak["optimizer"] / 4


def test_only_embeddings_in_use_have_gradients_and_moments(foretell):
    reduced, whole = (foretell(acceleration=(name,))[0] for name in ("reduced_embeddings", "off"))
    assert reduced.highest["gradients"] < whole.highest["gradients"]
    assert reduced.at_peak["weights"] > whole.at_peak["weights"], "the whole table is kept"


@pytest.mark.parametrize("strategy", ["full", "lora", "partial"])
def test_activations_grow_with_the_batch(foretell, strategy):
    small, medium, large = (foretell(strategy, batch_size=size)[0].at_peak["activations"] for size in (2, 8, 32))
    assert small < medium < large


def test_activations_grow_with_the_longest_text(foretell, tiny, tmp_path):
    def activations(rows):
        config = tiny.config(batch_size=4)
        built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
        train = tiny.table(64)
        longest = train.lengths.argsort()[rows]
        return forecast(tiny.plan(built, config, tmp_path, train=train.subset(longest))).at_peak["activations"]

    assert activations(slice(0, 8)) < activations(slice(-8, None))


def test_pieces_and_layers_computed_anew_keep_fewer_activations(foretell):
    whole, pieces, anew = (
        foretell(**options)[0].at_peak["activations"]
        for options in ({}, {"gradient_accumulation_steps": 4}, {"gradient_checkpointing": True})
    )
    assert pieces < whole / 2
    assert anew < whole


def test_frozen_layers_keep_none(foretell):
    full, top, head = (foretell(strategy)[0].at_peak["activations"] for strategy in ("full", "partial", "head_only"))
    assert head <= top < full, "what computes the frozen layers once is the most that is left"


def test_matrix_products_in_bf16_keep_less(foretell):
    half, whole = foretell(precision="bf16")[0], foretell()[0]
    assert half.at_peak["activations"] < whole.at_peak["activations"]
    assert foretell(precision="fp16")[0].at_peak == half.at_peak, "of the same size, though a CPU computes fp16 in fp32"


ALIKE = {"boft", "c3a", "delora", "eva", "fourierft", "gralora", "hra", "lokr", "lora_plus", "miss", "randlora", "road"}
"""Adapters by peft, in whose steps nothing is found that others have not."""


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(name, marks=needs_bitsandbytes if name == "qlora" else pytest.mark.slow if name in ALIKE else ())
        for name in sorted(list_encoder_strategies())
    ],
)
def test_every_strategy_is_forecast_and_the_same_each_time(foretell, strategy):
    memory, _ = foretell(strategy)
    assert memory == foretell(strategy)[0]
    assert tuple(memory.at_peak) == KINDS
    assert memory.total > 0
    assert all(memory.at_peak[kind] <= memory.highest[kind] for kind in KINDS)


def test_pairs_and_pieces_of_texts_are_forecast(tiny, tmp_path):
    config = tiny.config()
    objective = tiny.objective("bi_encoder", pairs=True)
    built = tiny.build(create_strategy("full", {}), tiny.folder(), config, objective=objective)
    tables = {"train": tiny.pairs(16), "validation": tiny.pairs(8, 1)}
    plan = tiny.plan(built, config, tmp_path, task=objective.task, **tables)
    assert forecast(plan).at_peak["activations"] > 0
    built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
    assert forecast(tiny.plan(built, config, tmp_path, train=tiny.pieces(16))).at_peak["activations"] > 0


def test_nothing_is_changed_but_the_model(foretell):
    state = torch.get_rng_state()
    foretell()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.ones(2).sum() == 2, "tensors have values again"


def test_memory_is_counted_by_kind_until_it_is_freed():
    layer = torch.nn.Linear(4, 2)
    memory = TensorMemory()
    memory.count_model(layer)
    with memory:
        loss = layer(torch.ones(8, 4)).sum()
        loss.backward()
        made = memory.now["activations"]
        with memory.making("optimizer"):
            moment = torch.zeros(10)
        del loss
    gc.collect()
    assert memory.now["weights"] == memory.now["gradients"] == (4 * 2 + 2) * 4
    assert memory.now["optimizer"] == 40 == moment.nbytes
    assert memory.now["activations"] < made
    assert sum(memory.at_peak.values()) >= 8 * (4 + 2) * 4


@pytest.mark.parametrize(
    ("total", "limit", "expected"),
    [
        (lambda batch: 100 + 7 * batch, 1000, 128),
        (lambda batch: 100 + 7 * batch, 99, 0),
        (lambda batch: 100 + 7 * batch, 107, 1),
        (lambda batch: 100 + 7 * batch, 10**9, 500),
        (lambda batch: 100, 100, 500),  # solved in one step: the batch has no part in it
        (lambda batch: 100, 99, 0),
        (lambda batch: max(400, 100 + 7 * batch), 1000, 128),
        (lambda batch: 100 + 7 * batch + 3 * max(0, batch - 64), 1000, 109),
    ],
)
def test_the_largest_batch_is_the_last_that_fits(total, limit, expected):
    asked = []
    found = largest_batch(lambda batch: asked.append(batch) or total(batch), limit, 32, 1, 500)
    assert found == expected
    assert len(asked) <= 8
    assert len(set(asked)) == len(asked), "none is forecast twice"
    assert expected in (*asked, 0)


def test_a_batch_has_no_fewer_examples_than_pieces(foretell):
    assert largest_batch(lambda batch: batch, 3, 8, 4, 500) == 0
    assert largest_batch(lambda batch: batch, 5, 8, 4, 500) == 5
