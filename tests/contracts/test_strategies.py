"""What holds for every strategy on every architecture."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import TrainConfig, identity
from pipeline.data.batching import TokenExamples
from pipeline.errors import ConfigError
from pipeline.fields import typed
from pipeline.modeling.addresses import find_model
from pipeline.modeling.encoder import ARCHITECTURES
from pipeline.stages.configure import configure
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase, head, layers
from pipeline.strategies.registry import create_strategy, list_strategies, strategy_arguments
from pipeline.training.checkpoints import trained_state
from pipeline.training.inference import predict_logits
from pipeline.training.model_folder import ModelRecord, write_model_folder
from pipeline.training.optimizer import build_optimizer

STRATEGIES = list_strategies()
FAMILIES = sorted(ARCHITECTURES)
REFUSED = {
    ("albert", "partial"): r"partial cannot work on albert: the 4 layers of .* share one set of weights",
    ("albert", "prefix"): "prefix cannot work on albert: its attention takes no past keys and values",
    ("distilbert", "prefix"): "prefix cannot work on distilbert: its attention takes no past keys and values",
    ("modernbert", "bitfit"): r"bitfit cannot work on modernbert: .* has no biases below its classifier",
    ("modernbert", "prefix"): "prefix cannot work on modernbert: its attention takes no past keys and values",
}
"""Pairs of family and strategy that cannot work, and the message that says so."""
PAIRS = [(family, name) for family in FAMILIES for name in STRATEGIES if (family, name) not in REFUSED]
POOLED = ("albert", "bert")
"""Families whose classifier uses a pooler that the checkpoint may lack."""
BY_LAYER = [family for family in FAMILIES if family != "albert"]
"""Families whose layers can train one by one."""
SMALLER = {"lora": {"r": 2}, "prefix": {"num_virtual_tokens": 4}}  # so that they are small beside the tiny model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@typed
class Gradual(Strategy):
    """The head first, the two top layers from the second epoch on, all layers from the third."""

    def phases(self, context):
        depth = context.encoder.depth
        return [
            Phase.training(head),
            Phase.training(head, layers(depth - 2, depth), start_epoch=1),
            Phase.training(head, layers(0, depth), start_epoch=2),
        ]


def make(name: str) -> Strategy:
    return Gradual() if name == "gradual" else create_strategy(name, SMALLER.get(name, {}))


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_strategies_are_found():
    assert set(STRATEGIES) >= {"bitfit", "full", "head_only", "lora", "partial", "prefix"}


def test_every_family_has_a_tiny_model(tiny):
    assert sorted(tiny.families) == FAMILIES
    assert set(FAMILIES) >= {"albert", "bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}
    for family in FAMILIES:
        assert find_model(str(tiny.folder(family))).encoder.model_type == family


@pytest.mark.parametrize(("family", "name"), REFUSED)
def test_pairs_that_cannot_work_are_refused_by_name_before_weights_are_loaded(tiny, family, name):
    context = tiny.context(tiny.folder(family), tiny.config())
    with pytest.raises(ConfigError, match=REFUSED[family, name]):
        make(name).phases(context)


@pytest.mark.parametrize(
    ("family", "name", "pooler"),
    [(*pair, True) for pair in PAIRS] + [(family, name, False) for family, name in PAIRS if family in POOLED],
)
def test_one_step_changes_exactly_the_declared_parameters(tiny, family, name, pooler, tmp_path):
    config = tiny.config()
    built = tiny.build(make(name), tiny.folder(family, pooler), config)
    before = snapshot(built.model)
    result = tiny.fit(built, config, tmp_path)
    assert result.steps == 1
    assert moved(before, snapshot(built.model)) == {parameter.name for parameter in built.parameters.trainable}


@pytest.mark.parametrize(("family", "name"), [pair for pair in PAIRS if pair[0] in POOLED])
def test_newly_initialised_parameters_outside_the_head_always_train(tiny, family, name):
    built = tiny.build(make(name), tiny.folder(family, pooler=False), tiny.config())
    pooler = [p for p in built.parameters.parameters if p.place.part == "pooler"]
    assert pooler, "the architecture has no pooler to lose"
    assert all(parameter.trains for parameter in pooler)


@pytest.mark.parametrize(("family", "name"), [*PAIRS, *((family, "gradual") for family in BY_LAYER)])
def test_whatever_ever_trains_is_in_one_optimizer_group_from_the_start(tiny, family, name):
    built = tiny.build(make(name), tiny.folder(family), tiny.config(epochs=3))
    optimizer = build_optimizer(built.model, built.parameters, 0.01)
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    named = dict(built.model.named_parameters())
    expected = [id(named[parameter.name]) for parameter in built.parameters.trainable]
    assert expected
    assert sorted(grouped) == sorted(expected)


@pytest.mark.parametrize("family", BY_LAYER)
def test_layers_unfrozen_later_move_from_their_phase_on(tiny, family, tmp_path, watch):
    config = tiny.config(epochs=3)
    built = tiny.build(Gradual(), tiny.folder(family), config)
    snapshots = [snapshot(built.model)]
    watcher = watch(after_step=lambda step: snapshots.append(snapshot(built.model)))
    tiny.fit(built, config, tmp_path, watcher=watcher)
    places = {parameter.name: parameter.place for parameter in built.parameters.parameters}
    per_epoch = [
        {"head" if places[name].part == "head" else places[name].layer for name in moved(before, after)}
        for before, after in itertools.pairwise(snapshots)
    ]
    depth = tiny.depth
    assert per_epoch == [{"head"}, {"head", *range(depth - 2, depth)}, {"head", *range(depth)}]


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_the_seed_decides_the_result(tiny, family, name, tmp_path):
    def train(seed: int, folder: str) -> dict[str, torch.Tensor]:
        config = tiny.config(seed=seed, epochs=2)
        built = tiny.build(make(name), tiny.folder(family), config)
        tiny.fit(built, config, tmp_path / folder, rows=24)
        return trained_state(built.model, built.parameters)

    first, again, other = train(1, "first"), train(1, "again"), train(2, "other")
    assert first
    assert not moved(first, again)
    assert moved(first, other) == set(first)


@pytest.mark.parametrize("name", STRATEGIES)
def test_arguments_and_config_survive_json(name):
    strategy = make(name)
    arguments = json.loads(json.dumps(strategy_arguments(strategy)))
    assert create_strategy(name, arguments) == strategy
    config = configure(TrainConfig, {"strategy": name, "learning_rate": "3e-4", "max_train_samples": "100"})
    again = TrainConfig(**json.loads(json.dumps(dataclasses.asdict(config))))
    assert again == config
    assert identity(again) == identity(config)


def test_all_strategies_start_from_the_same_head(tiny, family):
    heads = {}
    names = [name for name in STRATEGIES if (family, name) in PAIRS]
    for name in names:
        built = tiny.build(make(name), tiny.folder(family), tiny.config(init_seed=5))
        places = {parameter.name: parameter.place for parameter in built.parameters.parameters}
        heads[name] = {places[key].name: value for key, value in built.model.named_parameters() if places[key].part == "head"}
    assert len(names) >= 4
    reference = heads[names[0]]
    assert any(tensor.abs().sum() > 0 for tensor in reference.values())
    for own in heads.values():
        assert not moved(reference, own)
    other = tiny.build(make("full"), tiny.folder(family), tiny.config(init_seed=6))
    assert any(not torch.equal(value, reference[key]) for key, value in other.model.named_parameters() if key in reference)


RELOAD = """
import sys
from pathlib import Path
import numpy as np, torch
from pipeline.data.batching import TokenExamples
from pipeline.training.inference import predict_logits
from pipeline.training.model_folder import load_model_folder
from pipeline.data.tokenization import TokenTable

root = Path(sys.argv[1])
table = TokenTable(*(np.load(root / f"{part}.npy") for part in ("ids", "offsets", "labels")))
for folder in sorted(path.parent for path in root.glob("*/model.json")):
    tuned = load_model_folder(folder)
    examples = TokenExamples(table, tuned.tokenizer.pad_token_id)
    np.save(folder / "reloaded.npy", predict_logits(tuned.model, examples, torch.device("cpu")))
"""


def test_a_fresh_process_reloads_every_model_with_the_same_logits(tiny, tmp_path):
    table = tiny.table(20, seed=3)
    for part in ("ids", "offsets", "labels"):
        np.save(tmp_path / f"{part}.npy", getattr(table, part))
    expected = {}
    cases = [(*pair, pooler) for pair in PAIRS for pooler in ((True, False) if pair[0] in POOLED else (True,))]
    for family, name, pooler in cases:
        strategy, config, base = make(name), tiny.config(epochs=2), tiny.folder(family, pooler)
        built = tiny.build(strategy, base, config)
        key, pad_id = f"{family}-{name}-{pooler}", built.model.config.pad_token_id
        before = predict_logits(built.model, TokenExamples(table, pad_id), torch.device("cpu"))
        tiny.fit(built, config, tmp_path / "checkpoints" / key)
        record = ModelRecord(
            base=str(base),
            base_revision=None,
            base_sha256=built.address.weights_sha256(),
            strategy=name,
            strategy_args=strategy_arguments(strategy),
            classes=list(tiny.classes),
            max_length=64,
            dropout=config.dropout,
            epochs=config.epochs,
            total_steps=2,
        )
        write_model_folder(tmp_path / key, built, record)
        expected[key] = predict_logits(built.model, TokenExamples(table, pad_id), torch.device("cpu"))
        assert np.abs(expected[key] - before).max() > 1e-3, "training changed nothing, so reloading shows nothing"
    assert expected
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", RELOAD, str(tmp_path)], check=True, env=environment, timeout=240)
    for key, logits in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / key / "reloaded.npy"), logits, err_msg=key)
