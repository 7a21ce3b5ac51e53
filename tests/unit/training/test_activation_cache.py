"""Training above frozen layers: the cache changes speed and nothing else."""

import json
import shutil

import pytest
import torch

from pipeline.data.batching import plan_epoch
from pipeline.strategies.base import Strategy, create_strategy
from pipeline.strategies.freezing import Phase, everything, head, layers
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.checkpoints import trained_state
from pipeline.training.meters import FlopCounter
from pipeline.training.seeding import Seeds

WITH_A_PREFIX = [("head_only", {}), ("partial", {"top_k": 1}), ("partial", {"top_k": 2})]
OPTIONS = {"epochs": 2, "dropout": 0.1}


class Thawing(Strategy):
    """The head first, then the top layer, then everything."""

    def phases(self, context):
        top = layers(context.encoder.depth - 1, context.encoder.depth)
        return [
            Phase.training(head),
            Phase.training(head, top, start_epoch=1),
            Phase.training(everything, start_epoch=2),
        ]


def assert_same_weights(one, other, tolerance: float) -> None:
    left, right = trained_state(one.model, one.parameters), trained_state(other.model, other.parameters)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        # A bias of the keys shifts all scores of a query alike: its gradient is zero but for rounding, which AdamW scales up.
        if not name.endswith("key.bias"):
            assert torch.allclose(tensor, right[name], atol=tolerance), name


@pytest.fixture
def train(tiny, tmp_path, watch):
    """Trains with or without a cache; returns the built model, what came out, and who watched."""

    def train(strategy, cached, family="bert", base="base", rows=40, **options):
        config = tiny.config(**{**OPTIONS, **options})
        built = tiny.build(strategy, tiny.folder(family), config)
        watcher = watch()
        cache = ActivationCache(tmp_path / "hidden_states", 10**8) if cached else None
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        result = tiny.fit(built, config, folder, rows=rows, watcher=watcher, activation_cache=cache, base_identity=base)
        return built, result, watcher

    return train


@pytest.mark.parametrize(("name", "arguments"), WITH_A_PREFIX)
def test_training_on_cached_states_equals_training_on_states_computed_anew(train, name, arguments) -> None:
    strategy = create_strategy(name, arguments)
    cached, with_cache, watched = train(strategy, cached=True)
    anew, without, watched_anew = train(strategy, cached=False)
    assert_same_weights(cached, anew, tolerance=1e-4)
    losses = [metrics["train/loss"] for _, metrics in watched.logs if "train/loss" in metrics]
    assert losses == pytest.approx([m["train/loss"] for _, m in watched_anew.logs if "train/loss" in m], abs=1e-4)
    assert with_cache.best == pytest.approx(without.best, abs=1e-4)
    assert (with_cache.tokens, with_cache.examples) == (without.tokens, without.examples)
    assert with_cache.flops < without.flops
    assert (with_cache.cache, without.cache) == ("built", "unused")
    assert with_cache.cache_seconds > 0 == without.cache_seconds


@pytest.mark.parametrize("own_head", ["pooler", "mean"])
def test_every_architecture_is_cached(train, family, own_head) -> None:
    _, built, _ = train(create_strategy("head_only", {}), cached=True, family=family, head=own_head)
    _, anew, _ = train(create_strategy("head_only", {}), cached=False, family=family, head=own_head)
    assert built.cache == "built"
    assert built.best == pytest.approx(anew.best, abs=1e-4)


@pytest.mark.parametrize(
    ("strategy", "arguments", "expected"),
    [
        ("partial", {"top_k": 1}, "built"),
        ("freeze_bottom", {"bottom": 2}, "built"),
        ("freeze_bottom", {"bottom": 2, "freeze_embeddings": False}, "unused"),
    ],
)
def test_layers_are_cached_until_what_they_share_trains(train, strategy, arguments, expected) -> None:
    built, result, _ = train(create_strategy(strategy, arguments), cached=True, family="mpnet")
    shared = [any(p.lr_multipliers) for p in built.parameters.parameters if p.location.part == "shared"]
    assert shared == [expected == "unused"]
    assert result.cache == expected


def test_dropout_does_not_reach_the_frozen_layers(train, tmp_path) -> None:
    contents = []
    for seed in (1, 2):
        train(create_strategy("partial", {"top_k": 1}), cached=True, dropout=0.5, dropout_seed=seed)
        cache = tmp_path / "hidden_states"
        contents.append({path.parent.name: path.read_bytes() for path in cache.glob("*/states.bin")})
        shutil.rmtree(cache)
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2, "training and validation texts"


def test_what_was_built_is_found(train) -> None:
    _, result, watched = train(create_strategy("partial", {"top_k": 1}), cached=True)
    assert watched.prefix[-1] == (16, 16)
    _, again, watched_again = train(create_strategy("partial", {"top_k": 1}), cached=True)
    assert (result.cache, again.cache, watched_again.prefix) == ("built", "found", [])
    assert again.cache_seconds == result.cache_seconds, "what it cost does not depend on who came first"
    assert again.best == result.best


def test_the_operations_of_frozen_layers_count_where_they_are_done(tiny, train) -> None:
    built, without, _ = train(create_strategy("head_only", {}), cached=False, epochs=1)
    counter = FlopCounter.of(built.context.encoder, built.parameters, 0, trims_last_layer=True)
    lengths = tiny.table(40).lengths
    batches = plan_epoch(lengths, 8, Seeds.of(tiny.config(epochs=1, dropout=0.1)).order, 0)
    assert without.flops == sum(counter.step(len(batch), int(lengths[batch].max())) for batch in batches)


def test_a_training_interrupted_between_phases_knows_what_both_cost(tiny, tmp_path, watch) -> None:
    config = tiny.config(epochs=3)

    def fit(watcher):
        built = tiny.build(Thawing(), tiny.folder(), config)
        cache = ActivationCache(tmp_path / "hidden_states", 10**8)
        return tiny.fit(built, config, tmp_path / "run", rows=40, watcher=watcher, activation_cache=cache, base_identity="base")

    def interrupt(step):
        if step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(watch(after_step=interrupt))
    result = fit(watch())
    assert result.resumed_from == 5
    abouts = [json.loads(path.read_text()) for path in (tmp_path / "hidden_states").glob("*/about.json")]
    assert len(abouts) == 4
    assert result.cache_seconds == pytest.approx(sum(about["build_seconds"] for about in abouts))
    assert result.cache == "built"


@pytest.mark.parametrize("name", ["head_only", "partial"])
def test_it_holds_in_bf16_too(tiny, tmp_path, name) -> None:
    strategy = create_strategy(name, {"top_k": 1} if name == "partial" else {})
    results = []
    for cache in (ActivationCache(tmp_path / "hidden_states", 10**8), None):
        config = tiny.config(epochs=2, precision="bf16")
        built = tiny.build(strategy, tiny.folder(), config)
        folder = tmp_path / f"run-{cache is None}"
        results.append(tiny.fit(built, config, folder, rows=40, activation_cache=cache, base_identity="b", precision="bf16"))
    assert results[0].train_loss_mean == pytest.approx(results[1].train_loss_mean, rel=0.02)
    assert results[0].cache == "built"
    assert json.loads(next((tmp_path / "hidden_states").glob("*/about.json")).read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("name", ["full", "bitfit", "lora", "prefix"])
def test_what_trains_from_the_bottom_up_has_no_prefix(train, name) -> None:
    _, result, watched = train(create_strategy(name, {}), cached=True, epochs=1)
    assert (result.cache, result.cache_seconds, watched.prefix) == ("unused", 0, [])


def test_each_phase_has_its_own_prefix(train) -> None:
    cached, result, watched = train(Thawing(), cached=True, epochs=3)
    anew, _, _ = train(Thawing(), cached=False, epochs=3)
    assert result.cache == "built"
    assert [done for done, total in watched.prefix if done == total] == [40, 16, 40, 16]
    assert_same_weights(cached, anew, tolerance=1e-3)
    assert trained_state(cached.model, cached.parameters).keys() == dict(cached.model.named_parameters()).keys()


def test_layers_that_have_trained_are_never_taken_for_frozen_ones(tiny) -> None:
    class TopAfterAll(Strategy):
        """Everything first, then the head alone."""

        def phases(self, context):
            return [Phase.training(everything), Phase.training(head, start_epoch=1)]

    built = tiny.build(TopAfterAll(), tiny.folder(), tiny.config(epochs=2))
    assert [built.parameters.lowest_layer(built.context.encoder, phase) for phase in (0, 1)] == [0, 0]


def test_another_base_has_other_states(train) -> None:
    strategy = create_strategy("head_only", {})
    train(strategy, cached=True, base="one")
    assert train(strategy, cached=True, base="another")[1].cache == "built"


def test_some_of_the_texts_have_states_of_their_own(train) -> None:
    """The last bits depend on the batch in which a text is computed; so what was trained before would change the result."""
    strategy = create_strategy("head_only", {})
    train(strategy, cached=True)
    assert train(strategy, cached=True, rows=20)[1].cache == "built"
    assert train(strategy, cached=True, rows=20)[1].cache == "found"


def test_what_does_not_fit_is_computed_for_every_batch(tiny, tmp_path) -> None:
    config = tiny.config(**OPTIONS)
    built = tiny.build(create_strategy("head_only", {}), tiny.folder(), config)
    result = tiny.fit(built, config, tmp_path / "run", rows=40, activation_cache=ActivationCache(tmp_path / "small", 10))
    assert result.cache == "unused"
