"""ALBERT."""

from typing import Any

from pipeline.modeling.family import TAKES_NO_PAST, Family


class Albert(Family):
    """ALBERT (Lan et al. 2020, arXiv:1909.11942). Its layers share weights: one set, or as many as its config has groups."""

    model_types = ("albert",)
    base_prefix = "albert"
    examples = ("albert-base-v2",)
    embeddings = ("embeddings", "encoder.embedding_hidden_mapping_in")
    layers = "encoder.albert_layer_groups"
    linear = ("query", "key", "value", "dense", "ffn", "ffn_output", "pooler")
    attention_output = "attention.dense"
    feed_forward_output = "ffn_output"
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
    refused = {"prefix": TAKES_NO_PAST}

    def layer_sets(self, config: Any) -> int:
        """The groups."""
        return int(config.num_hidden_groups)

    def why_unsupported(self, config: Any) -> str | None:
        """Groups of several layers: a layer would be two."""
        if config.inner_group_num == 1:
            return None
        return f"inner_group_num={config.inner_group_num} in config.json is not supported, only 1 is"
