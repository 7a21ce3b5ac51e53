"""What is inside one encoder layer of each architecture: attention, queries and values, and where each block's output leaves.

`encoder` says where the layers are; the names here are components of parameter names below a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerParts:
    """The names that one model family gives to the parts of its layers."""

    attention: tuple[str, ...]
    """The attention block with its output and its norm."""
    query_value: tuple[str, ...]
    """Linear layers that make queries and values; the fused one where a family has no others."""
    key_value: tuple[str, ...]
    """Linear layers that make keys and values."""
    attention_output: str
    """How the name of the attention block's last linear layer ends."""
    feed_forward_output: str
    """How the name of the feed-forward block's last linear layer ends."""


_BERT = LayerParts(
    attention=("attention",),
    query_value=("query", "value"),
    key_value=("key", "value"),
    attention_output="attention.output.dense",
    feed_forward_output="output.dense",
)

LAYER_PARTS: Mapping[str, LayerParts] = {
    "albert": LayerParts(
        attention=("attention",),
        query_value=("query", "value"),
        key_value=("key", "value"),
        attention_output="attention.dense",
        feed_forward_output="ffn_output",
    ),
    "bert": _BERT,
    "distilbert": LayerParts(
        attention=("attention", "sa_layer_norm"),
        query_value=("q_lin", "v_lin"),
        key_value=("k_lin", "v_lin"),
        attention_output="attention.out_lin",
        feed_forward_output="ffn.lin2",
    ),
    "electra": _BERT,
    "modernbert": LayerParts(
        attention=("attn", "attn_norm"),
        query_value=("Wqkv",),
        key_value=("Wqkv",),
        attention_output="attn.Wo",
        feed_forward_output="mlp.Wo",
    ),
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}
"""By the `model_type` of `config.json`, for every architecture that `encoder` knows."""
