"""Dropout on a CPU, where drawing the masks takes longer than anything else about it.

torch draws a float per element, in one thread, and its attention kernel gives way to a slow path when there is dropout. Here
one 64-bit draw decides over four elements, 16 bits each, so that probabilities are multiples of 2^-16.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.training.acceleration.base import Acceleration, Target, replaced_attention, replaced_forwards

if TYPE_CHECKING:
    import torch
    from torch import nn


_ATTENTION = "sdpa_with_quick_dropout"
_RANGE = 2**16


class QuickDropout(Acceleration):
    """Dropout that draws four decisions at once: the same distribution, other elements than torch would drop."""

    def applies(self, target: Target) -> bool:
        """On a CPU; a GPU draws quickly by itself."""
        return target.device.type == "cpu"

    def patch(self, target: Target) -> contextlib.AbstractContextManager[None]:
        """The model's dropouts and its attention."""
        return quick_dropout(target.model)


@contextlib.contextmanager
def quick_dropout(model: nn.Module) -> Iterator[None]:
    """Within the block every dropout of `model` and of its attention draws quickly; for models on a CPU."""
    import torch
    from transformers.masking_utils import sdpa_mask

    dropouts = [module for module in model.modules() if type(module) is torch.nn.Dropout]
    with (
        replaced_attention(model, _ATTENTION, attend, sdpa_mask),
        replaced_forwards(dict.fromkeys(dropouts, _forward)),
    ):
        yield


def drop(states: torch.Tensor, probability: float) -> torch.Tensor:
    """Each element zero with `probability`, else scaled up so that the mean stays (Srivastava et al. 2014).

    Draws from torch's global generator.
    """
    threshold = round(probability * _RANGE)
    if threshold == _RANGE:
        return states * 0.0
    kept = _draw(states) >= threshold - _RANGE // 2
    return states * kept.to(states.dtype).mul_(_RANGE / (_RANGE - threshold))


def drop_stacked(states: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """`drop` below `vmap`, with a probability for each of what is stacked: the masks that each would draw by itself.

    Args:
        probability: Below 1; no dimensions, but for the stacked one.
    """
    threshold = (probability * _RANGE).round()
    kept = _draw(states) >= threshold - _RANGE // 2
    return states * (kept.to(states.dtype) * (_RANGE / (_RANGE - threshold)).to(states.dtype))


def _draw(like: torch.Tensor) -> torch.Tensor:
    """Whole numbers from -2^15 to 2^15 - 1, each as likely, of the shape of `like`."""
    import torch

    elements = like.numel()
    draws = torch.empty(-(-elements // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return draws.view(torch.int16)[:elements].view(like.shape)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers' `sdpa`, for an encoder: [examples, heads, length, size] -> [examples, length, heads, size]."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not dropout:
        output: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=0.0, scaling=scaling, **kwargs
        )
        return output
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        if attention_mask.dtype.is_floating_point:
            scores = scores + attention_mask
        else:  # not minus infinity: padding in a sliding window may see nothing but padding
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    context = drop(scores.softmax(-1), dropout) @ value
    return context.transpose(1, 2).contiguous(), None


def _forward(module: nn.Dropout, states: torch.Tensor) -> torch.Tensor:
    return drop(states, module.p) if module.training and module.p > 0 else states
