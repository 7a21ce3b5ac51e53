"""ModernBERT."""

from typing import Any

from pipeline.modeling.family import TAKES_NO_PAST, Family


class ModernBert(Family):
    """ModernBERT (Warner et al. 2024, arXiv:2412.13663).

    Its classifier is the dense layer of its pretraining head and a linear one; it reads the first token, or the mean of all
    tokens where its config says so.
    """

    model_types = ("modernbert",)
    base_prefix = "model"
    examples = ("answerdotai/ModernBERT-base",)
    layers = "layers"
    pooler = "final_norm"
    pooler_is_norm = True
    head = ("head", "classifier")
    linear_head = False
    linear = ("Wqkv", "Wo", "Wi")
    attention = ("attn", "attn_norm")
    query_value = ("Wqkv",)
    key_value = ("Wqkv",)
    attention_output = "attn.Wo"
    feed_forward_output = "mlp.Wo"
    feed_forward_matrices = 3
    layer_attributes = ("attention_type",)  # by which the model chooses a layer's mask
    dropouts = ("embedding_dropout", "mlp_dropout", "attention_dropout", "classifier_dropout")
    refused = {"prefix": TAKES_NO_PAST}

    def has_biases(self, config: Any) -> bool:
        """Where the config switches any on: by itself it has none."""
        return bool(config.norm_bias or config.attention_bias or config.mlp_bias)

    def reads_first_token(self, config: Any) -> bool:
        """Unless it takes the mean."""
        return bool(config.classifier_pooling == "cls")
