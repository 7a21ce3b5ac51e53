"""Attention on a GPU: masks made without asking it anything, and kernels that need no preparation.

transformers leaves the mask out where no token is masked, which lets attention take a quicker kernel. To know that, it reads
one value back in every forward pass, and so waits until all that was asked of the GPU is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


_ATTENTION = "sdpa_without_waiting"


@contextlib.contextmanager
def attention_without_plans(device: torch.device) -> Iterator[None]:
    """Within the block attention on a GPU takes no kernel of cuDNN's, which makes a plan for every new shape of a batch.

    Texts differ in length, so that most of a short training's batches are of a new shape. On an H100 (torch 2.11) a plan took
    170 milliseconds, and steps in a shape met before were no quicker for it (docs/explanation/performance.md, "On a GPU").
    """
    if device.type != "cuda":
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield


@contextlib.contextmanager
def masks_without_waiting(model: nn.Module) -> Iterator[None]:
    """Within the block `model` masks padding whether there is any or not; for models on a GPU that attend by `sdpa`."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface

    get_base_model: Any = getattr(model, "get_base_model", None)
    plain: Any = get_base_model() if get_base_model else model
    before = plain.config._attn_implementation
    AttentionInterface.register(_ATTENTION, sdpa_attention_forward)
    AttentionMaskInterface.register(_ATTENTION, make_mask)
    try:
        if before == "sdpa":
            plain.set_attn_implementation(_ATTENTION)
        yield
    finally:
        plain.set_attn_implementation(before)


def make_mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """What transformers makes for `sdpa`, of padding always: shape [examples, 1, queries, keys], true where to attend."""
    from transformers.masking_utils import sdpa_mask

    if attention_mask is not None:
        kwargs["allow_is_bidirectional_skip"] = False
    mask: torch.Tensor | None = sdpa_mask(*args, attention_mask=attention_mask, **kwargs)
    return mask
