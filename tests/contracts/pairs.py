"""Every strategy with every architecture, what is known of pairs that cannot work, and how a model is seen to change.

`make test` takes every strategy on BERT, and two of `EVERYWHERE` in turn on every other architecture; the rest is left to
`make test-all`.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Collection, Sequence

import pytest
import torch
from plain_models import encoder_takes, has_biases, has_linear_head, has_pooler, shares_layers

from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.family import find_family, list_model_types
from pipeline.modeling.head import list_heads
from pipeline.strategies.base import Strategy, create_strategy, list_encoder_strategies, strategy_arguments
from pipeline.training.saved_model import ModelRecord

STRATEGIES = list_encoder_strategies()
HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
FAMILIES = list_model_types()

SOLVING = [name for name in STRATEGIES if create_strategy(name, {}).solves_head]
"""Strategies that need a head of one linear layer."""
OWN_HEADS = [name for name in list_heads() if name != FAMILY_HEAD]

_SHARED = r"the 4 layers of .* share one set of weights"
_NO_BIASES = r".* has no biases"
_NOT_LINEAR = r"that head has more layers .* Add --head mean\."
_NO_PREFIX = "its attention takes no past keys and values"


def _reasons(family: str) -> dict[str, str]:
    """Strategy -> why it cannot work on a family: of transformers' model, and what else the family declares."""
    reasons = {name: re.escape(reason) for name, reason in find_family(family).refused.items() if name != "prefix"}
    if shares_layers(family):
        reasons |= dict.fromkeys(("discriminative", "freeze_bottom", "gradual", "partial"), _SHARED)
    if not has_biases(family):
        reasons |= dict.fromkeys(("bitfit", "random_subset"), _NO_BIASES)
    if not encoder_takes(family, "past_key_values"):
        reasons["prefix"] = _NO_PREFIX
    elif "prefix" in find_family(family).refused:
        reasons["prefix"] = re.escape(find_family(family).refused["prefix"])
    if not has_linear_head(family):
        reasons |= dict.fromkeys(SOLVING, _NOT_LINEAR)
    return reasons


REFUSED = {
    (family, name): rf"{name} cannot work on {family}( with --head pooler)?: {reason}"
    for family in FAMILIES
    for name, reason in _reasons(family).items()
}
"""Pairs of family and strategy that cannot work with the family's own head, and the message that says so."""

WITH_MEAN = [pair for pair in REFUSED if pair[1] in SOLVING]
"""Those of them that work with a head of one linear layer."""
PAIRS = [
    (family, name)
    for family in FAMILIES
    for name in STRATEGIES
    if (family, name) not in REFUSED and (name != "qlora" or HAS_BITSANDBYTES)
]
POOLED = tuple(filter(has_pooler, FAMILIES))
"""Families whose classifier uses a pooler that the checkpoint may lack."""
_MEETING_HEADS = ("full", "head_only", "lora", "partial", "prefix", "prompt")


def _headed() -> list[tuple[str, str, bool, str]]:
    """Every family with every head of our own, the strategies taking turns, and every such strategy with BERT and the mean."""
    turns = itertools.cycle(_MEETING_HEADS)
    found = [("bert", name, True, "mean") for name in (*_MEETING_HEADS, "qlora") if ("bert", name) in PAIRS]
    for family, own in itertools.product(FAMILIES, OWN_HEADS):
        found.append((family, next(name for name in turns if (family, name) in PAIRS), True, own))
    return list(dict.fromkeys(found))


BASES = [
    *((*pair, True, FAMILY_HEAD) for pair in PAIRS),
    *((*pair, False, "mean" if pair[1] in SOLVING else FAMILY_HEAD) for pair in PAIRS if pair[0] in POOLED),
    *((*pair, True, "mean") for pair in WITH_MEAN),
    *_headed(),
]
"""Family, strategy, whether the checkpoint has a pooler, and head."""

EVERYWHERE = ("full", "head_only", "lora", "prefix")
"""What `make test` trains beside BERT: all weights, the head alone, new weights in layers, and virtual tokens."""


def is_quick(family: str, name: str, pooler: bool = True, head: str = FAMILY_HEAD) -> bool:
    """Whether `make test` takes a case: BERT as it is, and of all else strategies of `EVERYWHERE`."""
    if family == "bert":
        return pooler or name in EVERYWHERE
    works = [name for name in EVERYWHERE if (family, name) not in REFUSED]
    turn = FAMILIES.index(family)
    return name in (works[turn % len(works)], works[(turn + 1) % len(works)]) and pooler and head == FAMILY_HEAD


def in_tiers(cases: Sequence[tuple], families: Collection[str] = FAMILIES) -> list:
    """Parameters of a test, marked as slow where `make test` leaves them out: those of other families in any case."""
    quick = [case for case in cases if case[0] in families and is_quick(*case)]
    assert quick
    return [pytest.param(*case, marks=() if case in quick else pytest.mark.slow) for case in cases]


# Arguments with which a strategy fits a tiny model and is small beside it.
_SMALLER = {
    "adalora": {"init_r": 3, "target_r": 2, "interval": 1},
    "boft": {"block_size": 4},
    "bottleneck": {"placement": "houlsby", "reduction_factor": 8},
    "c3a": {"block_size": 16},
    "delora": {"r": 2},
    "dora": {"r": 2},
    "eva": {"r": 2},
    "fourierft": {"n_frequency": 20},
    "gralora": {"r": 2},
    "hra": {"r": 2},
    "loha": {"r": 2},
    "lokr": {"r": 2},
    "lora_plus": {"r": 2},
    "miss": {"r": 4},
    "pissa": {"r": 2},
    "randlora": {"r": 8},
    "road": {"group_size": 8},
    "shira": {"r": 2},
    "waveft": {"n_frequency": 20},
    "gradual": {"head_epochs": 1, "top_epochs": 1},
    "lora": {"r": 2},
    "oft": {"block_size": 8},
    "prefix": {"num_virtual_tokens": 4},
    "prompt": {"num_virtual_tokens": 4},
    "ptuning": {"num_virtual_tokens": 4, "prompt_hidden_size": 8},
    "qlora": {"r": 2},
    "rslora": {"r": 2},
    "setfit": {"max_pairs": 8},
    "vera": {"r": 8},
}
_EPOCHS = {"delora": 2, "gradual": 3, "vera": 2}
AT_REST = {"delora": ".delora_lambda.", "vera": ".vera_lambda_d.", "setfit": "classifier."}
"""What does not move in the first step: what it is multiplied with begins at zero; it is solved for after the step."""


def make(name: str) -> Strategy:
    """The strategy with arguments for tiny models."""
    return create_strategy(name, _SMALLER.get(name, {}))


def fewest_epochs(name: str) -> int:
    """Epochs, of one step each, in which all that the strategy trains has moved."""
    return _EPOCHS.get(name, 1)


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Names of what differs in any bit."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def record_of(tiny, built, config, total_steps: int = 1) -> ModelRecord:
    """What is written beside the weights of a tiny model."""
    return ModelRecord(
        base=str(built.address.folder),
        base_revision=None,
        base_sha256=built.address.sha256(),
        strategy=built.strategy.name,
        strategy_args=strategy_arguments(built.strategy),
        classes=list(tiny.classes),
        max_length=64,
        dropout=config.dropout,
        epochs=config.epochs,
        total_steps=total_steps,
        head=config.head,
    )
