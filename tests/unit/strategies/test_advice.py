import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from transformers import AlbertConfig, BertConfig

from pipeline.modeling.encoder import describe_encoder
from pipeline.stages.auto.advice import advise
from pipeline.strategies.base import StrategyContext, create_strategy

BERT = describe_encoder(BertConfig().to_dict(), "bert-base-uncased")
ALBERT = describe_encoder(AlbertConfig(num_hidden_layers=4).to_dict(), "albert")


def test_the_studys_thresholds() -> None:
    def chosen(examples: int, epochs: int = 3) -> str:
        return advise(examples, epochs, BERT).strategy

    assert [chosen(1), chosen(99)] == ["freeze_bottom"] * 2
    assert [chosen(100), chosen(1000), chosen(1000, epochs=9)] == ["discriminative"] * 3
    assert [chosen(1001), chosen(10**6, epochs=4)] == ["full"] * 2
    assert [chosen(1001, epochs=5), chosen(10**6, epochs=6)] == ["gradual"] * 2
    assert advise(50, 3, BERT).arguments == {"bottom": 0.75}


@given(examples=st.integers(1, 10**7), epochs=st.integers(1, 50), depth=st.integers(1, 48))
def test_what_is_advised_works_on_the_encoder_and_says_why(examples: int, epochs: int, depth: int) -> None:
    for encoder in (dataclasses.replace(BERT, depth=depth, layer_sets=depth), ALBERT):
        advice = advise(examples, epochs, encoder)
        assert advice.reason
        strategy = create_strategy(advice.strategy, advice.arguments)
        assert strategy.phases(StrategyContext(encoder, epochs, epochs, 0.1))
