"""EuroBERT."""

from typing import Any

from pipeline.modeling.family import TAKES_NO_PAST, Family


class EuroBert(Family):
    """EuroBERT (Boizard et al. 2025, arXiv:2503.05500), with rotary positions.

    Its classifier is a dense and a linear layer; it reads the mean of all tokens' logits, or of their states, or the first
    token, as `classifier_pooling` in its config says.
    """

    model_types = ("eurobert",)
    base_prefix = "model"
    examples = ("EuroBERT/EuroBERT-210m",)
    embeddings = ("embed_tokens",)
    layers = "layers"
    pooler = "norm"
    pooler_is_norm = True
    head = ("dense", "classifier")
    linear_head = False
    linear = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    attention = ("self_attn", "input_layernorm")
    query_value = ("q_proj", "v_proj")
    key_value = ("k_proj", "v_proj")
    attention_output = "self_attn.o_proj"
    feed_forward_output = "mlp.down_proj"
    feed_forward_matrices = 3
    dropouts = ("attention_dropout",)
    refused = {"prefix": TAKES_NO_PAST}

    def has_biases(self, config: Any) -> bool:
        """Where the config switches any on: by itself it has none."""
        return bool(config.attention_bias or config.mlp_bias)

    def reads_first_token(self, config: Any) -> bool:
        """Only where it says so."""
        return bool(config.classifier_pooling == "bos")

    def classifies_tokens(self, config: Any) -> bool:
        """Unless the config says otherwise."""
        return bool(config.classifier_pooling == "late")
