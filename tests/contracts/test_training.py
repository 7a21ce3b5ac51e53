"""What trains is exactly what a strategy declares, on every architecture, and another process loads it as it was."""

import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import (
    AT_REST,
    BASES,
    EVERYWHERE,
    FAMILIES,
    HAS_BITSANDBYTES,
    OWN_HEADS,
    PAIRS,
    POOLED,
    REFUSED,
    STRATEGIES,
    fewest_epochs,
    in_tiers,
    is_quick,
    make,
    moved,
    record_of,
    snapshot,
)
from plain_models import has_final_norm

from pipeline.data.batching import TokenExamples
from pipeline.errors import ConfigError
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.head import with_head
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import create_strategy
from pipeline.training.inference import predict_logits
from pipeline.training.optimizer import build_optimizer
from pipeline.training.saved_model import write_model_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RELOAD = """
import sys
from pathlib import Path
import numpy as np, torch
from pipeline.data.batching import TokenExamples
from pipeline.data.tokenization import TokenTable
from pipeline.training.inference import predict_logits
from pipeline.training.saved_model import load_model_folder

folders = [Path(folder) for folder in sys.argv[1:]]
table = TokenTable(*(np.load(folders[0].parent / f"{part}.npy") for part in ("ids", "offsets", "labels")))
for folder in folders:
    tuned = load_model_folder(folder)
    examples = TokenExamples(table, tuned.tokenizer.pad_token_id)
    np.save(folder / "reloaded.npy", predict_logits(tuned.model, examples, torch.device("cpu")))
"""


def test_strategies_and_families_are_found(tiny):
    assert set(OWN_HEADS) >= {"attention", "mean", "mlp"}
    assert {(family, head) for family, _, _, head in BASES} >= set(itertools.product(FAMILIES, OWN_HEADS))
    assert set(STRATEGIES) >= {"bitfit", "full", "head_only", "lora", "partial", "prefix"}
    assert sorted(tiny.families) == FAMILIES
    assert set(FAMILIES) >= {"albert", "bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}
    for family in FAMILIES:
        assert find_model(str(tiny.folder(family))).encoder.model_type == family


@pytest.mark.parametrize(("family", "name"), REFUSED)
def test_pairs_that_cannot_work_are_refused_by_name_before_weights_are_loaded(tiny, family, name):
    context = tiny.context(tiny.folder(family), tiny.config(epochs=fewest_epochs(name)))
    with pytest.raises(ConfigError, match=REFUSED[family, name]):
        make(name).checked_phases(context)


@pytest.mark.skipif(HAS_BITSANDBYTES, reason="bitsandbytes is installed")
def test_qlora_without_bitsandbytes_is_refused(tiny):
    with pytest.raises(ConfigError, match=r"qlora needs the package bitsandbytes\. Run `pip install"):
        tiny.build(make("qlora"), tiny.folder(), tiny.config())


@dataclass(frozen=True)
class Trained:
    """What was seen of a case while it was built, trained and saved."""

    declared: Sequence[set[str]]
    """Of each step: the parameters that the strategy says are trained by it."""
    moved: Sequence[set[str]]
    """Of each step: what it changed."""
    trainable: set[str]
    grouped: Sequence[str]
    """Parameters of the optimizer, group by group."""
    pooler: Mapping[str, bool]
    """Parameter of a pooler, or of a norm below it -> whether it trains."""
    logits_before: np.ndarray
    logits: np.ndarray
    folder: Path


@pytest.fixture(scope="module")
def train_case(tiny, watch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """Builds, trains and saves a case, once for all contracts: `train_case(family, name, pooler, head)`."""
    scratch, folders = tmp_path_factory.mktemp("checkpoints"), tmp_path_factory.mktemp("saved")
    for part in ("ids", "offsets", "labels"):
        np.save(folders / f"{part}.npy", getattr(tiny.table(20, seed=3), part))
    return functools.cache(functools.partial(_train_case, tiny, watch, scratch, folders))


def _train_case(tiny, watch, scratch: Path, folders: Path, family: str, name: str, pooler: bool, head: str) -> Trained:
    epochs = max(2, fewest_epochs(name))  # of one step each
    key, base = f"{family}-{name}-{pooler}-{head}", tiny.folder(family, pooler)
    strategy, config = make(name), tiny.config(epochs=epochs, head=head)
    built = tiny.build(strategy, base, config, total_steps=epochs)
    plan, named = built.parameters, {id(value): parameter for parameter, value in built.model.named_parameters()}
    optimizer = build_optimizer(built.model, plan, 0.01)
    texts = TokenExamples(tiny.table(20, seed=3), built.model.config.pad_token_id)
    logits_before = predict_logits(built.model, texts, torch.device("cpu"))
    snapshots = []

    def build(model, *arguments):  # when the table of token embeddings holds the used rows, as it does after each step
        snapshots.append(snapshot(model))
        return build_optimizer(model, *arguments)

    if strategy.is_solved:  # without an optimizer
        snapshots.append(snapshot(built.model))
    watcher = watch(after_step=lambda step: snapshots.append(snapshot(built.model)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.training.loop.build_optimizer", build)
        assert tiny.fit(built, config, scratch / key, watcher=watcher).steps == len(snapshots) - 1
    record = record_of(tiny, built, config, epochs)
    write_model_folder(folders / key, built, record)
    return Trained(
        declared=[
            {parameter.name for parameter in plan.parameters if parameter.lr_multipliers[plan.phase_of(epoch)] > 0}
            for epoch in range(len(snapshots) - 1)
        ],
        moved=[moved(before, after) for before, after in itertools.pairwise(snapshots)],
        trainable={parameter.name for parameter in plan.trainable},
        grouped=[named[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]],
        pooler={p.location.name: p.trains for p in plan.parameters if p.location.part == "pooler"},
        logits_before=logits_before,
        logits=predict_logits(built.model, texts, torch.device("cpu")),
        folder=folders / key,
    )


PRUNED = {"adalora": ".lora_E."}
"""Of strategies that set weights to zero again: what is in the names of those weights."""


@pytest.mark.parametrize(("family", "name", "pooler", "head"), in_tiers(BASES))
def test_every_step_changes_exactly_the_declared_parameters(train_case, family, name, pooler, head):
    trained = train_case(family, name, pooler, head)
    assert len(trained.moved) == (1 if make(name).is_solved else max(2, fewest_epochs(name)))
    for step, (declared, changed) in enumerate(zip(trained.declared, trained.moved, strict=True)):
        if step == 0 and name in AT_REST:
            declared = {parameter for parameter in declared if AT_REST[name] not in parameter}
        assert declared
        if name in PRUNED:  # some are set back to the zero that they had
            changed = changed | {parameter for parameter in declared if PRUNED[name] in parameter}
        assert changed == declared
    assert {parameter for parameter in trained.trainable if PRUNED.get(name, "-") not in parameter} <= set().union(
        *trained.moved
    )


@pytest.mark.parametrize(("family", "name", "pooler", "head"), in_tiers(BASES))
def test_whatever_ever_trains_is_in_one_optimizer_group_from_the_start(train_case, family, name, pooler, head):
    trained = train_case(family, name, pooler, head)
    assert trained.trainable
    assert sorted(trained.grouped) == sorted(trained.trainable)
    assert bool(trained.pooler) == (has_final_norm(family) or (family in POOLED and head == FAMILY_HEAD))
    if family in POOLED and not pooler:
        drawn = [trains for name, trains in trained.pooler.items() if ".pooler." in name]
        assert all(drawn), "what the checkpoint lacked always trains"


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param([case for case in BASES if is_quick(*case)], id="quick"),
        pytest.param([case for case in BASES if not is_quick(*case)], id="rest", marks=pytest.mark.slow),
    ],
)
def test_a_fresh_process_reloads_every_model_with_the_same_logits(train_case, cases):
    assert len(cases) > 40
    all_trained = [train_case(*case) for case in cases]
    for trained in all_trained:
        assert np.abs(trained.logits - trained.logits_before).max() > 1e-3, "training changed nothing, so this shows nothing"
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    folders = [str(trained.folder) for trained in all_trained]
    subprocess.run([sys.executable, "-c", RELOAD, *folders], check=True, env=environment, timeout=600)
    for trained in all_trained:
        np.testing.assert_array_equal(np.load(trained.folder / "reloaded.npy"), trained.logits, err_msg=trained.folder.name)


HEADS = [*((family, FAMILY_HEAD) for family in FAMILIES), *(("bert", head) for head in OWN_HEADS)]


@pytest.mark.parametrize(
    ("family", "head", "strategies"),
    [
        *((*pair, EVERYWHERE if pair != ("bert", FAMILY_HEAD) else STRATEGIES) for pair in HEADS),
        *(pytest.param(*pair, STRATEGIES, marks=pytest.mark.slow) for pair in HEADS if pair != ("bert", FAMILY_HEAD)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}-strategies",
)
def test_all_strategies_start_from_the_same_head(tiny, family, head, strategies):
    heads = {}
    linear = with_head(find_model(str(tiny.folder(family))).encoder, head).linear_head
    names = [name for name in strategies if (family, name) in PAIRS and (linear or not make(name).solves_head)]
    for name in names:
        config = tiny.config(init_seed=5, epochs=fewest_epochs(name), head=head)
        built = tiny.build(make(name), tiny.folder(family), config)
        locations = {parameter.name: parameter.location for parameter in built.parameters.parameters}
        heads[name] = {
            locations[key].name: value for key, value in built.model.named_parameters() if locations[key].part == "head"
        }
    assert len(names) >= 3
    reference = heads[names[0]]
    assert any(tensor.abs().sum() > 0 for tensor in reference.values())
    for own in heads.values():
        assert not moved(reference, own)
    other = tiny.build(create_strategy("full", {}), tiny.folder(family), tiny.config(init_seed=6, head=head))
    assert any(not torch.equal(value, reference[key]) for key, value in other.model.named_parameters() if key in reference)
