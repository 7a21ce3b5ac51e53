"""What trains is exactly what a strategy declares, on every architecture."""

import itertools

import pytest
import torch
from pairs import (
    AT_REST,
    BASES,
    FAMILIES,
    HAS_BITSANDBYTES,
    OWN_HEADS,
    PAIRS,
    POOLED,
    REFUSED,
    STRATEGIES,
    fewest_epochs,
    make,
    moved,
    snapshot,
)

from pipeline.errors import ConfigError
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.heads.base import with_head
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import create_strategy
from pipeline.training.optimizer import build_optimizer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


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
    with pytest.raises(ConfigError, match=r"qlora needs the package bitsandbytes: pip install"):
        tiny.build(make("qlora"), tiny.folder(), tiny.config())


@pytest.mark.parametrize(("family", "name", "pooler", "head"), BASES)
def test_every_step_changes_exactly_the_declared_parameters(tiny, family, name, pooler, head, tmp_path, watch, monkeypatch):
    snapshots = []

    def build(model, *arguments):  # when the table of token embeddings holds the used rows, as it does after each step
        snapshots.append(snapshot(model))
        return build_optimizer(model, *arguments)

    monkeypatch.setattr("pipeline.training.loop.build_optimizer", build)
    epochs = fewest_epochs(name)
    config = tiny.config(epochs=epochs, head=head)
    built = tiny.build(make(name), tiny.folder(family, pooler), config, total_steps=epochs)
    plan = built.parameters
    if built.strategy.is_solved:  # without an optimizer
        snapshots.append(snapshot(built.model))
    watcher = watch(after_step=lambda step: snapshots.append(snapshot(built.model)))
    assert tiny.fit(built, config, tmp_path, watcher=watcher).steps == epochs
    for epoch, (before, after) in enumerate(itertools.pairwise(snapshots)):
        declared = {parameter.name for parameter in plan.parameters if parameter.factors[plan.phase_of(epoch)] > 0}
        if epoch == 0 and name in AT_REST:
            declared = {parameter for parameter in declared if AT_REST[name] not in parameter}
        assert declared
        assert moved(before, after) == declared
    assert moved(snapshots[0], snapshots[-1]) == {parameter.name for parameter in plan.trainable}


@pytest.mark.parametrize(("family", "name", "pooler", "head"), BASES)
def test_whatever_ever_trains_is_in_one_optimizer_group_from_the_start(tiny, family, name, pooler, head):
    built = tiny.build(make(name), tiny.folder(family, pooler), tiny.config(epochs=fewest_epochs(name), head=head))
    optimizer = build_optimizer(built.model, built.parameters, 0.01)
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    named = dict(built.model.named_parameters())
    expected = [id(named[parameter.name]) for parameter in built.parameters.trainable]
    assert expected
    assert sorted(grouped) == sorted(expected)
    new = [parameter for parameter in built.parameters.parameters if parameter.place.part == "pooler"]
    assert bool(new) == (family == "modernbert" or (family in POOLED and head == FAMILY_HEAD))
    if family in POOLED and not pooler:
        assert all(parameter.trains for parameter in new), "what the checkpoint lacked always trains"


@pytest.mark.parametrize(
    ("family", "head"), [*((family, FAMILY_HEAD) for family in FAMILIES), *(("bert", head) for head in OWN_HEADS)]
)
def test_all_strategies_start_from_the_same_head(tiny, family, head):
    heads = {}
    linear = with_head(find_model(str(tiny.folder(family))).encoder, head).linear_head
    names = [name for name in STRATEGIES if (family, name) in PAIRS and (linear or not make(name).is_solved)]
    for name in names:
        config = tiny.config(init_seed=5, epochs=fewest_epochs(name), head=head)
        built = tiny.build(make(name), tiny.folder(family), config)
        places = {parameter.name: parameter.place for parameter in built.parameters.parameters}
        heads[name] = {places[key].name: value for key, value in built.model.named_parameters() if places[key].part == "head"}
    assert len(names) >= 4
    reference = heads[names[0]]
    assert any(tensor.abs().sum() > 0 for tensor in reference.values())
    for own in heads.values():
        assert not moved(reference, own)
    other = tiny.build(create_strategy("full", {}), tiny.folder(family), tiny.config(init_seed=6, head=head))
    assert any(not torch.equal(value, reference[key]) for key, value in other.model.named_parameters() if key in reference)
