"""Attention on a GPU by kernels that need no preparation.

torch takes cuDNN's attention on some GPUs, which makes a plan for every new shape of a batch. Texts differ in length, so that
most of a short training's batches are of a new shape. On an H100 (torch 2.11) a plan took 170 milliseconds, and steps in a
shape met before were no quicker for it (docs/explanation/performance.md, "On a GPU").
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.training.acceleration.base import Acceleration, Target


class AttentionKernels(Acceleration):
    """Attention without cuDNN's kernels."""

    in_inference = True

    def applies(self, target: Target) -> bool:
        """On a GPU."""
        return target.device.type == "cuda"

    def patch(self, target: Target) -> contextlib.AbstractContextManager[None]:
        """Torch's choice of kernels, whatever the model."""
        return attention_without_plans()


@contextlib.contextmanager
def attention_without_plans() -> Iterator[None]:
    """Within the block attention on a GPU takes no kernel of cuDNN's."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield
