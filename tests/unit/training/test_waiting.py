"""Between logging points nobody waits for the device: what would be waited for on a GPU is counted on the CPU."""

import traceback
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.imbalance import ImbalanceConfig
from pipeline.data.batching import TokenExamples
from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.objectives.loss import create_loss
from pipeline.strategies.base import create_strategy, list_encoder_strategies
from pipeline.training.acceleration.patches.attention_masks import AttentionMasks, masks_without_waiting
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.inference import predict_outputs
from pipeline.training.loop import fit
from pipeline.training.vmapped_heads import fit_heads

STEPS, PER_EPOCH = 15, 3
QUICK = ("full", "lora", "gradual", "head_only")
"""What `make test` takes: all weights, adapters, phases, and states that are kept."""
ONCE_A_PHASE = "training/activation_cache.py"
"""What computes states to keep and writes them to the disk, before the first step above another layer."""
PEFT_READS = {"adalora": "peft/tuners/adalora/layer.py"}
"""Strategy -> the file of peft that reads values back at steps of its own choosing."""

_OPERATORS = {
    "_local_scalar_dense",
    "is_nonzero",
    "nonzero",
    "masked_select",
    "equal",
    "_unique2",
    "bincount",
    "repeat_interleave",
}
"""Of ATen, whose result on a GPU is a value, or has a shape that only the GPU knows."""
_METHODS = {  # not numpy(), which a tensor on a GPU does not have
    torch.Tensor.tolist,
    torch.Tensor.cpu,
    torch.Tensor.item,
    torch.Tensor.__bool__,
    torch.Tensor.__contains__,
    torch.Tensor.__float__,
    torch.Tensor.__index__,
    torch.Tensor.__int__,
}
_CHECKED_ON_A_CPU = {torch.nn.functional.one_hot}
"""What looks at its values on a CPU alone."""


class Waits:
    """Counts, by the place in the code, what a GPU would be waited for within the block."""

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()
        self._modes = (_Methods(self), _Operators(self))
        self.paused = False

    def note(self, name: str) -> None:
        if self.paused:
            return
        frames = [
            frame for frame in traceback.extract_stack() if "/torch/" not in frame.filename and frame.filename != __file__
        ]
        self.places[f"{name} in {frames[-1].filename}:{frames[-1].lineno}"] += 1

    def __enter__(self) -> "Waits":
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _Methods(TorchFunctionMode):
    """Sees methods that hand a tensor's memory out without an operator."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in _METHODS:
            self._waits.note(function.__name__)
        before, self._waits.paused = self._waits.paused, self._waits.paused or function in _CHECKED_ON_A_CPU
        try:
            return function(*args, **kwargs or {})
        finally:
            self._waits.paused = before


class _Operators(TorchDispatchMode):
    """Sees operators, those of the backward pass and of the optimizer, too."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.partition(".")[0]
        masks = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        if name in _OPERATORS or any(mask is not None and mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            self._waits.note(name)
        return function(*args, **kwargs or {})


@pytest.fixture
def count(tiny, tmp_path, watch, monkeypatch):
    """Trains, with the masks that a GPU is given; what would be waited for until the first logging point."""
    monkeypatch.setattr(AttentionMasks, "applies", lambda self, target: True)

    def count(strategy="full", objective=None, changes=lambda plan: {}, train=fit, **options):
        config = tiny.config(
            **{"epochs": STEPS // PER_EPOCH, "logging_steps": STEPS, "eval_steps": STEPS, "dropout": 0.1, **options}
        )
        built = tiny.build(create_strategy(strategy, {}), tiny.folder(), config, STEPS, objective)
        cache = ActivationCache(tmp_path / "states", 10**8)
        run = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        plan = tiny.plan(built, config, run, 8 * PER_EPOCH, activation_cache=cache, base_identity="bert")
        seen: dict[int, Counter[str]] = {}
        with Waits() as waits:
            train(replace(plan, **changes(plan)), watch(after_step=lambda step: seen.update({step: waits.places.copy()})))
        assert waits.places.total() > seen[STEPS].total(), "a logging point is waited for"
        found = seen[STEPS] - seen[1]  # before the first step a training may look at its data
        return Counter({place: times for place, times in found.items() if ONCE_A_PHASE not in place})

    return count


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in list_encoder_strategies()]
)
def test_no_strategys_steps_wait(count, name):
    strategy = create_strategy(name, {})
    if strategy.is_solved:
        pytest.skip("its one step is a solver's on the CPU")
    if any(package == "bitsandbytes" for package in strategy.packages):
        pytest.skip("bitsandbytes has no CPU to be counted on")
    places = count(name)
    assert not [place for place in places if PEFT_READS.get(name, "nowhere") not in place]


def as_sets(table):
    return replace(table, labels=np.eye(2, dtype=np.float32)[table.labels])


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_no_loss_waits(count, loss, monkeypatch):
    imbalance = ImbalanceConfig(loss=loss, class_weights="bad:1,good:3", label_smoothing=0.1)
    monkeypatch.setattr(
        "pipeline.training.plan.FitPlan.build_loss", lambda plan: create_loss(plan.task, imbalance, plan.train.piece_labels)
    )
    assert not count()


def test_pairs_do_not_wait(tiny, count):
    objective = tiny.objective("bi_encoder", classes=(), score_range=(0.0, 1.0), pairs=True)
    changes = {"task": objective.task, "train": tiny.pairs(8 * PER_EPOCH), "validation": tiny.pairs(16)}
    assert not count(objective=objective, changes=lambda _: changes, metric_for_best_model="loss")


def test_label_sets_do_not_wait(tiny, count):
    assert not count(
        changes=lambda plan: {
            "task": MultiLabelTask(tiny.classes),
            "train": as_sets(plan.train),
            "validation": as_sets(plan.validation),
        },
        label_type="multi",
        metric_for_best_model="f1_macro",
    )


def test_batches_in_pieces_do_not_wait(count):
    assert not count(gradient_accumulation_steps=2, gradient_checkpointing=True)


def test_heads_that_train_at_once_do_not_wait(count):
    def train(plan, watcher):
        fit_heads(plan, [replace(plan.config, learning_rate=rate) for rate in (1e-2, 1e-3)], watcher)

    assert not count("head_only", train=train)


def test_what_reads_a_value_back_is_seen(count, monkeypatch):
    from pipeline.training import loop

    before = loop.build_optimizer

    def asking(_module, _given, output):
        output.logits.sum().item()

    def build(model, *given):
        model.register_forward_hook(asking)
        return before(model, *given)

    monkeypatch.setattr(loop, "build_optimizer", build)
    assert count().total() >= STEPS - 1


@pytest.mark.parametrize("max_tokens", [60, 10**4])
def test_predicting_waits_once_however_many_batches_there_are(tiny, max_tokens):
    built = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config())
    examples, device = TokenExamples(tiny.table(40), 0), torch.device("cpu")
    with masks_without_waiting(built.model), Waits() as waits:
        predict_outputs(built.model, examples, device, max_tokens)
    assert waits.places.total() == 1
