"""Batches in pieces, layers that are computed anew, another optimizer and other schedules: the training that it should be.

The first two change nothing but memory and time, so they are held against a training without. The others are held against
transformers' Trainer, which is given the same starting weights and batches.
"""

import functools
import json
from types import SimpleNamespace

import pytest
import torch
import transformers
from pairs import FAMILIES, PAIRS, fewest_epochs, make
from plain_models import plain_model

from pipeline.config import TrainConfig
from pipeline.data.batching import TokenExamples, cut_batch, plan_epoch
from pipeline.errors import ConfigError
from pipeline.modeling import split_model
from pipeline.strategies.base import list_strategies
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.checkpoints import trained_state
from pipeline.training.seeding import Seeds
from pipeline.training.setup import find_strategy

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ROWS = 21
"""Examples: batches of 8, 8 and 5."""


def in_tiers(names, quick):
    """All of them, those that are not quick left to `make test-all`."""
    assert set(quick) < set(names)
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


STRATEGIES = in_tiers(
    [name for name in list_strategies() if ("bert", name) in PAIRS],
    ("adalora", "full", "gradual", "lora", "partial", "prefix"),
)
SUPPORTED = [family for family in FAMILIES if plain_model(family).supports_gradient_checkpointing]
REFUSED = [family for family in FAMILIES if family not in SUPPORTED]
ROUNDING = ("key.bias", "k_lin.bias", "Wqkv.bias")
"""A bias of the keys shifts all scores of a query alike: its gradient is rounding, which AdamW makes as large as any."""


@pytest.fixture(scope="module")
def train(tiny, tmp_path_factory, watch):
    """Trains a strategy on a family; each training is made once."""

    @functools.cache
    def train(family, name, **options):
        config = tiny.config(**{"learning_rate": 1e-3, "dropout": 0.0, "epochs": fewest_epochs(name), **options})
        built = tiny.build(make(name), tiny.folder(family), config, total_steps=3 * config.epochs)
        sizes = note_sizes(built)
        before = vars_of_modules(built.model)
        folder, watcher = tmp_path_factory.mktemp("run"), watch()
        cache = ActivationCache(folder / "states", 10**8)
        result = tiny.fit(built, config, folder / "run", ROWS, watcher, activation_cache=cache, base_identity=family)
        assert vars_of_modules(built.model) == before, "afterwards the model is as it was"
        losses = [metrics["train/loss"] for _, metrics in watcher.logs if "train/loss" in metrics]
        return SimpleNamespace(
            losses=losses, weights=trained_state(built.model, built.parameters), best=dict(result.best), sizes=sizes
        )

    return train


def note_sizes(built):
    """Of every time that the last layer but one is computed in training: how many examples."""
    *_, layer, _top = split_model.plain_model(built.model).get_submodule(built.context.encoder.layers)
    norm = next(module for module in layer.modules() if type(module).__name__.endswith("Norm"))  # no strategy wraps it
    sizes = []
    norm.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])) if layer.training else None)
    return sizes


def vars_of_modules(model):
    """What recomputing layers may set on modules and config, and hooks."""
    flags = [
        (getattr(module, "gradient_checkpointing", None), len(module._forward_hooks), "forward" in vars(module))
        for module in model.modules()
    ]
    return flags, getattr(model.config, "use_cache", None)


def assert_equal(found, expected, tolerance):
    assert found.losses == pytest.approx(expected.losses, rel=tolerance, abs=0)
    assert found.best == pytest.approx(expected.best, rel=10 * tolerance, abs=0)
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        if not name.endswith(ROUNDING):
            torch.testing.assert_close(found.weights[name], weight, rtol=0, atol=10 * tolerance, msg=name)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_batch_in_pieces_is_the_same_step(train, name):
    assert_equal(train("bert", name, gradient_accumulation_steps=3), train("bert", name), 2e-5)


def test_no_piece_is_larger_than_its_share(train):
    assert sorted(train("bert", "full").sizes) == [5, 8, 8]
    assert sorted(train("bert", "full", gradient_accumulation_steps=3).sizes) == [1, 2, 2, 2, 2, 3, 3, 3, 3]
    single = train("bert", "full", gradient_accumulation_steps=8)
    assert single.sizes == [1] * ROWS
    assert_equal(single, train("bert", "full"), 2e-5)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name.values != ("prefix",)])
def test_layers_that_are_computed_anew_give_the_same(train, name):
    assert_equal(train("bert", name, gradient_checkpointing=True), train("bert", name), 0.0)


@pytest.mark.parametrize("family", in_tiers(SUPPORTED, ("bert", "deberta-v2")))
def test_every_family_computes_layers_anew_under_the_same_dropout(train, family):
    kept = train(family, "lora", dropout=0.1, acceleration=("auto",))
    anew = train(family, "lora", dropout=0.1, acceleration=("auto",), gradient_checkpointing=True)
    assert_equal(anew, kept, 0.0)
    assert len(anew.sizes) == 2 * len(kept.sizes) > 0


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_is_refused_by_its_name(tiny, family):
    config = TrainConfig(model=str(tiny.folder(family)), gradient_checkpointing=True)
    with pytest.raises(ConfigError, match=r"--gradient-checkpointing true: --model .* of transformers, which does not"):
        find_strategy(config)
    with pytest.raises(ValueError, match="does not support"):
        plain_model(family).activation_checkpointing_enable()


def test_prefix_tuning_is_refused_with_the_reason(tiny):
    config = TrainConfig(model=str(tiny.folder()), strategy="prefix", gradient_checkpointing=True)
    with pytest.raises(ConfigError, match=r"--strategy prefix cannot work with it: layers .* given no past keys and values"):
        find_strategy(config)


@pytest.mark.parametrize(
    ("options", "most"), [({"gradient_accumulation_steps": 9}, 8), ({"gradient_accumulation_steps": 5, "num_processes": 2}, 4)]
)
def test_more_pieces_than_examples_are_refused(tiny, options, most):
    config = TrainConfig(model=str(tiny.folder()), batch_size=8, **options)
    with pytest.raises(ConfigError, match=rf"\(--batch-size 8.*Give at most --gradient-accumulation-steps {most}, or larger"):
        find_strategy(config)


def test_a_folder_does_not_decide_whether_layers_are_computed_anew(tiny, tmp_path):
    from shutil import copytree

    folder = copytree(tiny.folder(), tmp_path / "asks")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "gradient_checkpointing": True}))
    model = tiny.build(make("prefix"), folder, tiny.config()).model
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


class Peer(transformers.Trainer):
    """transformers' Trainer, given batches in the order in which they are here."""

    loss_is_scaled_for_ga = False  # else it takes BERT's mean over a piece for a share of the batch's, and adds the means up

    def get_train_dataloader(self):
        return self.train_dataset


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            {"optimizer": "adafactor", "lr_scheduler_type": "cosine", "gradient_accumulation_steps": 2},
            {"optim": "adafactor", "lr_scheduler_type": "cosine", "gradient_accumulation_steps": 2},
        ),
        (
            {"lr_scheduler_type": "constant", "gradient_checkpointing": True},
            {"optim": "adamw_torch_fused", "lr_scheduler_type": "constant_with_warmup", "activation_checkpointing": True},
        ),
    ],
    ids=["adafactor", "constant"],
)
def test_it_is_the_trainer_of_transformers(tiny, tmp_path, watch, ours, theirs):
    rows, steps = 32, 8
    shared = {"learning_rate": 3e-3, "weight_decay": 0.1, "max_grad_norm": 0.5}
    config = tiny.config(**shared, **ours, dropout=0.0, epochs=2, eval_steps=steps, warmup_ratio=0.25, acceleration=("off",))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        tiny.folder(), num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    built, watcher = tiny.build(make("full"), tiny.folder(), config, steps), watch()
    model.load_state_dict(built.model.state_dict())
    result = tiny.fit(built, config, tmp_path / "ours", rows, watcher)

    table = tiny.table(rows)
    examples = TokenExamples(table, model.config.pad_token_id)
    batches = []
    for epoch in range(2):
        for indices in plan_epoch(table.lengths, config.batch_size, Seeds.of(config).order, epoch):
            for piece in cut_batch(indices, config.gradient_accumulation_steps):
                batch = examples.batch(piece)
                batches.append({**batch.inputs, "labels": batch.labels})
    arguments = transformers.TrainingArguments(
        tmp_path / "theirs", max_steps=steps, warmup_steps=2, logging_steps=1, use_cpu=True, report_to=[], save_strategy="no",
        disable_tqdm=True, **shared, **theirs,
    )  # fmt: skip
    trainer = Peer(model, arguments, train_dataset=batches)
    trainer.train()

    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert [metrics["train/loss"] for _, metrics in watcher.logs if "train/loss" in metrics] == pytest.approx(logged, abs=1e-4)
    assert result.train_loss_mean == pytest.approx(trainer.state.log_history[-1]["train_loss"], abs=1e-6)
    for name, weight in model.named_parameters():
        if not name.endswith(ROUNDING):
            torch.testing.assert_close(dict(built.model.named_parameters())[name], weight, rtol=0, atol=1e-6, msg=name)
