"""The family's own head."""

from collections.abc import Collection
from typing import Any

from pipeline.modeling.encoder import Encoder
from pipeline.modeling.heads.base import Head


class Pooler(Head):
    """What the family's own classification model in transformers has on top.

    BERT and ALBERT: the pretrained pooler, then a linear layer. ELECTRA, RoBERTa, XLM-RoBERTa and DistilBERT: a new dense
    layer and a linear one. ModernBERT: the dense layer of its pretraining head and a linear one. All read the first token,
    ModernBERT the mean of all tokens where its `config.json` says so.
    """

    @classmethod
    def describe(cls, encoder: Encoder) -> Encoder:
        """As it is."""
        return encoder

    @classmethod
    def put_on(
        cls, model: Any, encoder: Encoder, classes: int, dropout: float, seed: int, newly_initialised: Collection[str]
    ) -> frozenset[str]:
        """It is there already."""
        return frozenset(newly_initialised)
