"""Attention masks made without asking the GPU anything.

transformers leaves the mask out where no token is masked, which lets attention take a quicker kernel. To know that, it reads
one value back in every forward pass, and so waits until all that was asked of the GPU is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.training.acceleration.base import Acceleration, Target, replaced_attention

if TYPE_CHECKING:
    import torch
    from torch import nn


_ATTENTION = "sdpa_without_waiting"


class AttentionMasks(Acceleration):
    """Masks that hold padding whether there is any or not."""

    in_inference = True

    def applies(self, target: Target) -> bool:
        """Not on a CPU, which nobody waits for."""
        return target.device.type != "cpu"

    def patch(self, target: Target) -> contextlib.AbstractContextManager[None]:
        """The model's attention."""
        return masks_without_waiting(target.model)


@contextlib.contextmanager
def masks_without_waiting(model: nn.Module) -> Iterator[None]:
    """Within the block `model` masks padding whether there is any or not; for models on a GPU that attend by `sdpa`."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    with replaced_attention(model, _ATTENTION, sdpa_attention_forward, make_mask):
        yield


def make_mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """What transformers makes for `sdpa`, of padding always: shape [examples, 1, queries, keys], true where to attend."""
    from transformers.masking_utils import sdpa_mask

    if attention_mask is not None:
        kwargs["allow_is_bidirectional_skip"] = False
    mask: torch.Tensor | None = sdpa_mask(*args, attention_mask=attention_mask, **kwargs)
    return mask
