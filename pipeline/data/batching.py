"""Which examples go into which batch, and how a batch is padded.

Batches hold examples of like length, so that little is padding. Sorting everything would make the order predictable and
batches of short and long texts alternate in the same way each epoch; so examples are shuffled, cut into windows of many
batches, sorted by length within each window only, and the batches shuffled again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.data.tokenization import TokenTable

if TYPE_CHECKING:
    import torch

WINDOW_BATCHES = 50


@dataclass(frozen=True)
class Batch:
    """Examples padded to the longest of them."""

    input_ids: torch.Tensor
    """Shape [examples, length], int64."""
    attention_mask: torch.Tensor
    """Shape [examples, length], int64; 0 on padding."""
    labels: torch.Tensor
    """Shape [examples], int64."""
    tokens: int
    """Tokens that are not padding."""


def plan_epoch(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int, window_batches: int = WINDOW_BATCHES
) -> list[NDArray[np.int64]]:
    """Indices of each batch of an epoch; every example once. A function of its arguments alone, so a run can resume.

    Args:
        lengths: Tokens per example; shape [examples].
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    window = batch_size * window_batches
    batches = []
    for start in range(0, len(order), window):
        members = order[start : start + window]
        members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches))]


def plan_inference(lengths: NDArray[np.int64], max_tokens: int, max_examples: int = 512) -> list[NDArray[np.int64]]:
    """Indices of batches for inference: sorted by length, each within `max_tokens` after padding (or one example)."""
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = int(min(max(1, max_tokens // max(1, lengths[order[start]])), max_examples))
        batches.append(order[start : start + size])
        start += size
    return batches


def collate(table: TokenTable, indices: NDArray[np.int64], pad_id: int) -> Batch:
    """The examples at `indices` as padded tensors on the CPU."""
    import torch

    pieces = [table.tokens(index) for index in indices]
    longest = max(map(len, pieces))
    ids = np.full((len(pieces), longest), pad_id, np.int64)
    mask = np.zeros((len(pieces), longest), np.int64)
    for row, piece in enumerate(pieces):
        ids[row, : len(piece)] = piece
        mask[row, : len(piece)] = 1
    return Batch(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(table.labels[indices]), sum(map(len, pieces)))
