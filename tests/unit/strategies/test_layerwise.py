"""Rates and phases of the strategies that treat layers differently."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig

from pipeline.errors import ConfigError
from pipeline.modeling.encoder import EncoderSpec, describe_encoder
from pipeline.strategies.base import StrategyContext, create_strategy
from pipeline.strategies.freezing import Phase, count_layers

BERT = describe_encoder(BertConfig().to_dict(), "bert-base-uncased")
EMBEDDINGS, POOLER, HEAD = "bert.embeddings.LayerNorm.weight", "bert.pooler.dense.weight", "classifier.weight"


def layer(number: int, part: str = "output.dense.weight") -> str:
    return f"bert.encoder.layer.{number}.{part}"


def phases(name: str, epochs: int = 5, encoder: EncoderSpec = BERT, **arguments: object) -> list[Phase]:
    return list(create_strategy(name, arguments).phases(StrategyContext(encoder, epochs, 10, 0.1)))


def lr_multiplier(phase: Phase, name: str) -> float:
    return phase.lr_multiplier(BERT.locate(name))


@pytest.mark.parametrize(
    ("table", "embeddings", "lower", "upper", "pooler", "head"),
    [("two_rates", 1e-6, 1e-6, 1e-5, 1e-5, 2e-5), ("three_rates", 1e-6, 5e-6, 1e-5, 1e-5, 2e-5)],
)
def test_the_studys_rates_at_its_learning_rate(table, embeddings, lower, upper, pooler, head) -> None:
    (phase,) = phases("discriminative", table=table)
    locations = [EMBEDDINGS, layer(0), layer(5), layer(6), layer(11), POOLER, HEAD]
    rates = [2e-5 * lr_multiplier(phase, name) for name in locations]
    assert rates == pytest.approx([embeddings, lower, lower, upper, upper, pooler, head])


def test_geometric_decay_goes_down_layer_by_layer() -> None:
    (phase,) = phases("discriminative", table="geometric", decay=0.9)
    down = [lr_multiplier(phase, name) for name in (HEAD, POOLER, *(layer(i) for i in reversed(range(12))), EMBEDDINGS)]
    assert down == pytest.approx([1, 1, *(0.9**i for i in range(13))])


def test_the_bottom_is_frozen() -> None:
    (phase,) = phases("freeze_bottom", bottom="9")
    trained = {i for i in range(12) if lr_multiplier(phase, layer(i))}
    assert trained == {9, 10, 11}
    assert [lr_multiplier(phase, name) for name in (EMBEDDINGS, POOLER, HEAD)] == [0, 1, 1]
    (phase,) = phases("freeze_bottom", bottom="9", freeze_embeddings="false")
    assert lr_multiplier(phase, EMBEDDINGS) == 1


def test_gradual_unfreezes_from_the_top() -> None:
    found = phases("gradual")
    assert [phase.start_epoch for phase in found] == [0, 2, 4]
    names = [HEAD, POOLER, layer(6), layer(5), EMBEDDINGS]
    assert [[lr_multiplier(phase, name) for name in names] for phase in found] == [
        [1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1],
    ]
    shorter = phases("gradual", epochs=3, head_epochs=1, top_epochs=1, top=2)
    assert [phase.start_epoch for phase in shorter] == [0, 1, 2]
    assert [lr_multiplier(shorter[1], layer(i)) for i in (9, 10)] == [0, 1]


def test_attention_spares_the_feed_forward_blocks() -> None:
    (phase,) = phases("attention")
    trains = [
        layer(3, "attention.self.query.weight"),
        layer(3, "attention.output.dense.bias"),
        layer(3, "attention.output.LayerNorm.weight"),
        POOLER,
        HEAD,
    ]
    rests = [layer(3, "intermediate.dense.weight"), layer(3), layer(3, "output.LayerNorm.weight"), EMBEDDINGS]
    assert [lr_multiplier(phase, name) for name in trains + rests] == [1] * 5 + [0] * 4


@pytest.mark.parametrize(
    ("name", "epochs", "arguments", "message"),
    [
        ("gradual", 4, {}, "gradual: --epochs 4 ends before everything trains: .* Give --epochs 5 or more, or shorter phases"),
        ("gradual", 2, {}, r"Give --epochs 5 or more\.$"),
        ("gradual", 5, {"top": 13}, "gradual: top=13 exceeds the 12 layers of bert-base-uncased. Choose 1 to 12."),
        ("freeze_bottom", 5, {"bottom": 13}, "freeze_bottom: bottom=13 exceeds the 12 layers"),
        ("freeze_bottom", 5, {"bottom": 1.5}, "freeze_bottom: bottom=1.5 is neither a whole number of layers nor a share"),
        ("freeze_bottom", 5, {"bottom": 0}, "freeze_bottom: bottom: got 0. Give a number greater than 0"),
        ("discriminative", 5, {"table": "third"}, "discriminative: table: got 'third'. Give one of two_rates, three_rates"),
        ("discriminative", 5, {"decay": 1.1}, "discriminative: decay: got 1.1. Give a number greater than 0 and at most 1"),
    ],
)
def test_what_cannot_be_is_refused(name: str, epochs: int, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        phases(name, epochs, **arguments)


@given(depth=st.integers(1, 48), share=st.floats(0.001, 0.999))
def test_a_share_of_the_depth_is_near_it_and_a_whole_number_is_itself(depth: int, share: float) -> None:
    encoder = dataclasses.replace(BERT, depth=depth, layer_sets=depth)
    layers = count_layers("x: y", share, encoder)
    assert 1 <= layers <= depth
    assert abs(layers - share * depth) <= max(0.5, 1 - share * depth)
    assert count_layers("x: y", layers, encoder) == layers
