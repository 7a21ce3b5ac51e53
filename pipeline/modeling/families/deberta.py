"""DeBERTa."""

from typing import Any

from pipeline.modeling.family import TAKES_NO_PAST, UNLIMITED, Family


class Deberta(Family):
    """DeBERTa (He et al. 2021, arXiv:2006.03654). One layer makes queries, keys and values.

    Its classifier has a hidden layer of its own, which stands outside the encoder and is called `pooler`.
    """

    model_types = ("deberta",)
    base_prefix = "deberta"
    examples = ("microsoft/deberta-base",)
    shared = ("encoder.rel_embeddings",)
    pooler = None
    head = ("pooler", "classifier")
    linear_head = False
    linear = ("in_proj", "pos_proj", "pos_q_proj", "dense")
    query_value = ("in_proj",)
    key_value = ("in_proj",)
    layers_return_tuples = True
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob", "pooler_dropout", "cls_dropout")
    refused = {"prefix": TAKES_NO_PAST}

    def max_positions(self, config: Any) -> int:
        """Unlimited where the embeddings hold none: the last relative position stands for all beyond it."""
        return int(config.max_position_embeddings) if config.position_biased_input else UNLIMITED
