"""Which examples go into which batch, and how a batch is padded.

Batches hold examples of like length, so that little is padding. Sorting everything would make the order predictable and
batches of short and long texts alternate in the same way each epoch; so examples are shuffled, cut into windows of many
batches, sorted by length within each window only, and the batches shuffled again.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.data.tokenization import Labels, TokenTable

if TYPE_CHECKING:
    import torch

WINDOW_BATCHES = 50
LENGTH_MULTIPLE = 8
"""To which batches are padded on a GPU: few shapes, each of which comes often, and of sizes that matrix units like."""
MOST_TOKENS = {"cpu": 2048, "cuda": 8192}
"""Of a batch that is predicted, after padding. On a CPU what a layer makes of 2,048 tokens stays in its caches; 8,192 take
1.3 times as long in float32 (MiniLM and BERT-base, two cores). A GPU needs many to be busy."""


@dataclass(frozen=True)
class Batch:
    """Examples padded to the longest of them, as keyword arguments of a model."""

    inputs: dict[str, torch.Tensor]
    """`attention_mask` of shape [examples, length], int64, 0 on padding; and `input_ids` of the same shape, int64, or
    `inputs_embeds` of shape [examples, length, hidden], in the type in which they are kept. With `input_ids`,
    `token_type_ids` where pairs have segments."""
    labels: torch.Tensor
    """Shape [examples], int64, or float32 where labels are scores; of label sets shape [examples, labels], float32."""
    tokens: int
    """Tokens of the texts, without padding."""
    shape: tuple[int, int]
    """Examples, and length of the longest of the texts."""

    def to(self, device: torch.device) -> Batch:
        """The batch as a model on the device takes it: hidden states in float32.

        On a GPU nobody waits for it.
        """
        inputs = {name: move(tensor, device) for name, tensor in self.inputs.items()}
        if "inputs_embeds" in inputs:  # wider only there, so that half as many bytes are copied
            inputs["inputs_embeds"] = inputs["inputs_embeds"].float()
        return replace(self, inputs=inputs, labels=move(self.labels, device))

    def lengthened(self, multiple: int, longest: int, pad_id: int) -> Batch:
        """The batch with more padding, so that its length is a multiple; never beyond `longest`, which a model can take.

        Of one token alone, which is all that is kept where a head reads no other, there is never more.
        """
        from torch.nn.functional import pad

        length = self.inputs["attention_mask"].shape[1]
        extra = min(-(-length // multiple) * multiple, longest) - length
        if extra <= 0 or length == 1:
            return self
        inputs = {
            name: pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, extra), value=pad_id if name == "input_ids" else 0)
            for name, tensor in self.inputs.items()
        }
        return replace(self, inputs=inputs)


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; to a GPU from pinned memory, so that the copy takes its turn there and nobody waits for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Examples(Protocol):
    """What a model is fed with: token ids, or what frozen layers have made of them."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per example; shape [examples]."""

    @property
    def labels(self) -> Labels:
        """As the loss takes them, a row per example."""

    @property
    def text_index(self) -> NDArray[np.int64] | None:
        """Of which text each example is a piece, ascending; shape [examples]. None where each is a text or pair of its own."""

    @property
    def pad_id(self) -> int:
        """The token that stands for padding."""

    @property
    def longest(self) -> int:
        """Tokens of the longest text, which the model can therefore take."""

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded."""

    def as_model_input(self) -> AbstractContextManager[None]:
        """Within the block the model takes the batches."""


@dataclass(frozen=True)
class TokenExamples:
    """Examples as token ids, which a whole model takes."""

    table: TokenTable
    pad_id: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per example; shape [examples]."""
        return self.table.lengths

    @property
    def labels(self) -> Labels:
        """As the loss takes them, a row per example."""
        return self.table.piece_labels

    @property
    def text_index(self) -> NDArray[np.int64] | None:
        """Of which text each example is a piece, ascending; shape [examples]."""
        return self.table.text_index

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest text, which the model can therefore take."""
        return int(self.table.lengths.max())

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded, on the CPU."""
        import torch

        pieces = [self.table.tokens(index) for index in indices]
        lengths = np.fromiter(map(len, pieces), np.int64)
        ids = np.full((len(pieces), lengths.max()), self.pad_id, np.int64)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece)] = piece
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": mask_padding(lengths)}
        if self.table.segments is not None:
            kinds = np.zeros_like(ids)
            for row, index in enumerate(indices):
                kinds[row, : lengths[row]] = self.table.segments[self.table.offsets[index] : self.table.offsets[index + 1]]
            inputs["token_type_ids"] = torch.from_numpy(kinds)
        return Batch(inputs, torch.from_numpy(self.labels[indices]), int(lengths.sum()), ids.shape)

    def as_model_input(self) -> AbstractContextManager[None]:
        """Nothing needs to change."""
        return nullcontext()


def load_batch(examples: Examples, indices: NDArray[np.int64], device: torch.device) -> Batch:
    """The examples at `indices` on the device; on a GPU padded to one of few lengths."""
    batch = examples.batch(indices)
    if device.type == "cuda":
        batch = batch.lengthened(LENGTH_MULTIPLE, examples.longest, examples.pad_id)
    return batch.to(device)


def padded_lengths(lengths: NDArray[np.int64], device: torch.device) -> NDArray[np.int64]:
    """To which lengths examples of these are padded on the device: on a GPU to those of `load_batch`; shape [examples]."""
    return -(-lengths // LENGTH_MULTIPLE) * LENGTH_MULTIPLE if device.type == "cuda" else lengths


def mask_padding(lengths: NDArray[np.int64]) -> torch.Tensor:
    """1 on tokens and 0 on padding: shape [examples] -> [examples, longest], int64."""
    import torch

    return torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))


def plan_epoch(
    lengths: NDArray[np.int64],
    batch_size: int,
    seed: int,
    epoch: int,
    window_batches: int = WINDOW_BATCHES,
    examples: int | None = None,
) -> list[NDArray[np.int64]]:
    """Indices of each batch of an epoch. A function of its arguments alone, so a run can resume.

    Args:
        lengths: Tokens per example; shape [examples].
        examples: How many an epoch has. Fewer are passed over again, in another order; if not given, each comes once.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    window = batch_size * window_batches
    if examples is not None and examples > len(lengths):
        passes = [order, *(generator.permutation(len(lengths)) for _ in range((examples - 1) // len(lengths)))]
        order = np.concatenate(passes)[:examples]
        # Of equal length a window would put what is one example next to itself, into one batch. No window holds a whole pass
        # and more, so only where two passes meet, or where there are fewer examples than in a batch, can one come twice.
        window = batch_size * min(window_batches, max(1, len(lengths) // batch_size))
    batches = []
    for start in range(0, len(order), window):
        members = order[start : start + window]
        members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches))]


def cut_batch(indices: NDArray[np.int64], pieces: int) -> list[NDArray[np.int64]]:
    """A batch in so many pieces of nearly the same size, in order; in one an example where it has fewer.

    A batch has its texts in order of length, so those of a piece are of like length, too.
    """
    return [piece for piece in np.array_split(indices, pieces) if len(piece)]


def inference_batches(
    lengths: NDArray[np.int64], device: torch.device, max_tokens: int | None = None
) -> list[NDArray[np.int64]]:
    """Indices of the batches in which the device predicts examples of these lengths, each within `MOST_TOKENS`.

    Args:
        max_tokens: At most so many in a batch, after padding.
    """
    most = MOST_TOKENS[device.type]
    return plan_inference(padded_lengths(lengths, device), most if max_tokens is None else min(max_tokens, most))


def plan_inference(lengths: NDArray[np.int64], max_tokens: int, max_examples: int = 512) -> list[NDArray[np.int64]]:
    """Indices of batches for inference: sorted by length, each within `max_tokens` after padding (or one example)."""
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = int(min(max(1, max_tokens // max(1, lengths[order[start]])), max_examples))
        batches.append(order[start : start + size])
        start += size
    return batches
