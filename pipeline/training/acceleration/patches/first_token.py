"""The last layer computes only what the head reads: the first token."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.modeling.split_model import plain_model
from pipeline.training.acceleration.base import Acceleration, Target, replaced_forwards

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.modeling.encoder import EncoderSpec


class FirstToken(Acceleration):
    """A top layer that computes what the head reads."""

    in_inference = True

    def applies(self, target: Target) -> bool:
        """Where the head reads the first token alone, and layers are laid out as BERT's."""
        return target.encoder.trims_last_layer

    def patch(self, target: Target) -> contextlib.AbstractContextManager[None]:
        """The model's top layer."""
        return first_token(target.model, target.encoder)


@contextlib.contextmanager
def first_token(model: nn.Module, encoder: EncoderSpec) -> Iterator[None]:
    """Within the block the top layer of `model` answers for the first token alone; for layers laid out as BERT's.

    Keys and values are still made of every token. Query, attention, projections and feed-forward block, five sixths of the
    layer, are made once per text instead of once per token. The head's logits are the same, up to the order of summation.
    """
    layer = plain_model(model).get_submodule(f"{encoder.layers}.{encoder.depth - 1}")
    with replaced_forwards({layer: _forward}):
        yield


def _forward(
    layer: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_: Any,
    past_key_values: Any = None,
    **kwargs: Any,
) -> torch.Tensor:
    """What the layer's own forward gives at position 0: [examples, length, hidden] -> [examples, 1, hidden]."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    attention = layer.attention.self
    # Contiguous: of others torch orders the sums by whether weights require gradients, so a reloaded model would differ.
    first = hidden_states[:, :1].contiguous()

    def split_heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:-1], -1, attention.attention_head_size).transpose(1, 2)

    query = split_heads(attention.query(first))
    key, value = split_heads(attention.key(hidden_states)), split_heads(attention.value(hidden_states))
    if past_key_values is not None:  # prefix tuning's
        key, value = past_key_values.update(key, value, attention.layer_idx)
    if attention_mask is not None and attention_mask.ndim == 4:
        attention_mask = attention_mask[:, :, :1]
    eager = sys.modules[type(attention).__module__].eager_attention_forward
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager)
    context, _weights = attend(
        attention,
        query,
        key,
        value,
        attention_mask,
        dropout=attention.dropout.p if attention.training else 0.0,
        scaling=attention.scaling,
        **kwargs,
    )
    attended = layer.attention.output(context.flatten(2), first)
    output: torch.Tensor = layer.feed_forward_chunk(attended)
    return output
