"""Pairs whose texts are encoded one by one: token ids, and how batches are made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.batching import Batch, Examples
from pipeline.data.columns import LABEL, PAIR, TEXT, Input
from pipeline.data.token_losses import TokenLosses
from pipeline.data.tokenization import Labels, TokenTable, encode_columns, encode_texts, identify_ids, read_or_encode

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TextPairs:
    """Pairs of texts, each text with token ids of its own."""

    texts: TokenTable
    """Of pair i the texts are examples 2i and 2i + 1; their labels mean nothing."""
    labels: Labels
    """Shape [pairs]."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per pair once its texts are padded to the longer of them; shape [pairs]."""
        return _lengths_of_pairs(self.texts.lengths)

    def count_texts(self, pairs: NDArray[np.int64]) -> int:
        """How many these are."""
        return len(pairs)

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids of all texts, one after another."""
        return self.texts.ids

    @property
    def piece_labels(self) -> Labels:
        """Those of the pairs: none is cut into pieces."""
        return self.labels

    @property
    def losses(self) -> TokenLosses | None:
        """What the ids lack of the texts."""
        return self.texts.losses

    def subset(self, indices: NDArray[np.int64]) -> TextPairs:
        """The pairs at `indices`, in that order."""
        rows = np.stack([2 * indices, 2 * indices + 1], axis=1).ravel()
        return TextPairs(self.texts.subset(rows), self.labels[indices])

    def as_examples(self, make: Callable[[TokenTable], Examples]) -> Examples:
        """What a model is fed with, given how it is made of a table of texts."""
        return PairedExamples(make(self.texts), self.labels)


@dataclass(frozen=True)
class PairedExamples:
    """Pairs as a model takes them that encodes each text by itself: first all first texts, then all second ones."""

    texts: Examples
    """Of pair i the texts are examples 2i and 2i + 1."""
    labels: Labels
    """Shape [pairs]."""
    text_index = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per pair once its texts are padded to the longer of them; shape [pairs]."""
        return _lengths_of_pairs(self.texts.lengths)

    @property
    def pad_id(self) -> int:
        """The token that stands for padding."""
        return self.texts.pad_id

    @property
    def longest(self) -> int:
        """Tokens of the longest text, which the model can therefore take."""
        return self.texts.longest

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The pairs at `indices`: inputs of twice as many rows as there are labels."""
        import torch

        batch = self.texts.batch(np.concatenate([2 * indices, 2 * indices + 1]))
        return replace(batch, labels=torch.from_numpy(self.labels[indices]))

    def as_model_input(self) -> AbstractContextManager[None]:
        """Within the block the model takes the batches."""
        return self.texts.as_model_input()


def tokenize_apart(
    table: pd.DataFrame, tokenizer: Any, tokenizer_key: str, max_length: int, content_sha256: str, cache_dir: str
) -> TextPairs:
    """Token ids of a split of pairs, from the cache where the same content was tokenised the same way.

    Args:
        table: Columns `text`, `text_pair` and `label`.
        tokenizer: A Hugging Face tokenizer.
        tokenizer_key: Identifies the tokenizer's content.
        max_length: Of each text.
        content_sha256: Identifies the content of `table`.

    Raises:
        DataError: The cache cannot be written.
    """
    identity = {**identify_ids(tokenizer, tokenizer_key, max_length, content_sha256), "pairs": "apart"}
    texts = read_or_encode(
        identity,
        np.zeros(2 * len(table), np.int64),
        lambda: encode_columns(_Alternating(table), None, tokenizer, max_length),
        cache_dir,
    )
    return TextPairs(texts, table[LABEL].to_numpy())


def encode_apart(pairs: Sequence[Input], tokenizer: Any, max_length: int) -> TextPairs:
    """Token ids of pairs without labels (all 0), not cached."""
    texts = [text for pair in pairs for text in pair]
    return TextPairs(encode_texts(texts, tokenizer, max_length), np.zeros(len(pairs), np.int64))


class _Alternating(Sequence[str]):
    """The texts of a table of pairs in turn, of which only those that are asked for become Python objects."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._columns = table[TEXT], table[PAIR]

    def __len__(self) -> int:
        return 2 * len(self._columns[0])

    def __getitem__(self, place: Any) -> Any:
        start, stop, _ = place.indices(len(self))
        rows = slice(start // 2, (stop + 1) // 2)
        texts = [text for pair in zip(*(column.iloc[rows] for column in self._columns), strict=True) for text in pair]
        return texts[start % 2 : start % 2 + stop - start]


def _lengths_of_pairs(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    longest: NDArray[np.int64] = 2 * lengths.reshape(-1, 2).max(axis=1)
    return longest
