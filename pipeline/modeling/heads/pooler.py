"""The family's own head."""

from pipeline.modeling.heads.base import Head


class Pooler(Head):
    """What the family's own classification model in transformers has on top.

    BERT and ALBERT: the pretrained pooler, then a linear layer. ELECTRA, RoBERTa, XLM-RoBERTa and DistilBERT: a new dense
    layer and a linear one. ModernBERT: the dense layer of its pretraining head and a linear one. All read the first token,
    ModernBERT the mean of all tokens where its `config.json` says so.
    """
