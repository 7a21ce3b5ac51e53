"""GTE."""

from pipeline.modeling.family import TAKES_NO_PAST, Family


class Gte(Family):
    """GTE (Zhang et al. 2024, arXiv:2407.19669), with rotary positions and a gate in its feed-forward block.

    Published encoders lack the pooler that classification puts on top, so it is drawn anew. Hub folders of `model_type` "new"
    hold the same encoder for remote code.
    """

    model_types = ("gte",)
    base_prefix = "gte"
    examples = ("alibaba-nlp-community/gte-multilingual-base",)
    native_of = {"NewModel": "alibaba-nlp-community/gte-multilingual-base"}
    layers = "layers"
    linear = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "dense")
    attention = ("self_attn", "post_attention_layernorm")
    query_value = ("q_proj", "v_proj")
    key_value = ("k_proj", "v_proj")
    attention_output = "self_attn.o_proj"
    feed_forward_output = "mlp.down_proj"
    feed_forward_matrices = 3
    refused = {"prefix": TAKES_NO_PAST}
