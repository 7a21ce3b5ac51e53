"""What a model is fed with while its lower layers are frozen: their hidden states, from the cache or computed on the way.

Either way the frozen layers run without dropout, so the cache changes speed and, but for rounding, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.batching import Batch, Examples, TokenExamples, mask_padding, plan_inference
from pipeline.data.tokenization import Labels
from pipeline.modeling.cut import Cut
from pipeline.training.inference import MAX_TOKENS
from pipeline.training.masks import attention_without_plans
from pipeline.training.prefix_cache import HiddenStates, PrefixCache

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AbovePrefix:
    """Examples as the hidden states that enter the layer at which a model is cut."""

    tokens: TokenExamples
    cut: Cut

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per example, so that batches are the same ones with and without the cache; shape [examples]."""
        return self.tokens.lengths

    @property
    def labels(self) -> Labels:
        """Index of the class, or the score; shape [examples]."""
        return self.tokens.labels

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded."""
        raise NotImplementedError

    def feeding(self) -> AbstractContextManager[None]:
        """The model begins above the cut."""
        return self.cut.suffix()


@dataclass(frozen=True)
class CachedPrefix(AbovePrefix):
    """Hidden states that were computed before."""

    states: HiddenStates

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded, on the CPU."""
        import torch

        states, lengths = self.states.read(indices)
        inputs = {"inputs_embeds": states, "attention_mask": mask_padding(lengths)}
        tokens = self.lengths[indices]
        shape = len(indices), int(tokens.max())
        return Batch(inputs, torch.from_numpy(self.labels[indices]), int(tokens.sum()), shape)


@dataclass(frozen=True)
class RecomputedPrefix(AbovePrefix):
    """Hidden states that are computed for every batch."""

    device: Any
    dtype: torch.dtype

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded, on the model's device."""
        batch = self.tokens.batch(indices)
        inputs = batch.to(self.device).inputs
        with attention_without_plans(self.device):
            states = self.cut.run_prefix(**inputs).to(self.dtype)
        mask = inputs["attention_mask"][:, : states.shape[1]]
        return replace(batch, inputs={"inputs_embeds": states, "attention_mask": mask})


def feed_above(
    cut: Cut,
    tokens: TokenExamples,
    device: Any,
    dtype: torch.dtype,
    cache: PrefixCache | None,
    base: object,
    on_progress: Callable[[int, int], None],
    max_tokens: int,
) -> Examples:
    """The examples as a model takes them whose layers below the cut are frozen.

    Args:
        dtype: In which the hidden states are kept.
        cache: Where they are kept; None to compute them for every batch.
        base: Identifies the weights below the cut and the type in which they compute.
        on_progress: Told (examples, of how many) while the states are computed for the cache.
        max_tokens: Size of a batch, after padding, in which they are computed.
    """
    recomputed = RecomputedPrefix(tokens, cut, device, dtype)
    if cache is None:
        return recomputed
    done = 0

    def compute(indices: NDArray[np.int64]) -> torch.Tensor:
        nonlocal done
        states = recomputed.batch(indices).inputs["inputs_embeds"]
        done += len(indices)
        on_progress(done, len(tokens.labels))
        return states

    lengths = np.ones_like(tokens.lengths) if cut.keeps_first_token_only else tokens.lengths
    batches = plan_inference(tokens.lengths, min(max_tokens, MAX_TOKENS))
    states = cache.find_or_build([base, cut.layer, str(dtype)], tokens.table, lengths, batches, compute)
    return recomputed if states is None else CachedPrefix(tokens, cut, states)
