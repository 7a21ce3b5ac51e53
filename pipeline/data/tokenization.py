"""Texts turned into token ids once, kept as a memory-mapped ragged table and shared by all runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.scratch import writing
from pipeline.data.sources import LABEL, TEXT
from pipeline.errors import DataError
from pipeline.hashing import digest

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 10_000
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class TokenTable:
    """Examples of unequal length: example i is `ids[offsets[i]:offsets[i + 1]]`, special tokens included."""

    ids: NDArray[np.int32]
    """Shape [tokens]."""
    offsets: NDArray[np.int64]
    """Shape [examples + 1]."""
    labels: Labels
    """Shape [examples]; index of the class."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per example; shape [examples]."""
        return np.diff(self.offsets)

    def tokens(self, index: int) -> NDArray[np.int32]:
        """Token ids of one example; shape [length]."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def subset(self, indices: NDArray[np.int64]) -> TokenTable:
        """The examples at `indices`, in that order."""
        if len(indices) == len(self) and np.array_equal(indices, np.arange(len(self))):
            return self
        pieces = [self.tokens(index) for index in indices]
        ids = np.concatenate(pieces) if pieces else self.ids[:0]
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        return TokenTable(ids, offsets, self.labels[indices])


def tokenize(
    table: pd.DataFrame, tokenizer: Any, tokenizer_key: str, max_length: int, content_sha256: str, cache_dir: str
) -> TokenTable:
    """Token ids of a split, from the cache where the same content was tokenised the same way.

    Args:
        table: Columns `text` and `label`.
        tokenizer: A Hugging Face tokenizer.
        tokenizer_key: Identifies the tokenizer's content.
        content_sha256: Identifies the content of `table`.

    Raises:
        DataError: The cache cannot be written.
    """
    key = digest({"tokenizer": tokenizer_key, "max_length": max_length, "content": content_sha256})
    folder = Path(cache_dir) / "tokens" / key[:16]
    labels = table[LABEL].to_numpy(np.int64)
    cached = _read(folder, labels)
    if cached is None:
        ids, lengths = _encode(table[TEXT], tokenizer, max_length)
        with writing(folder, cache_dir) as scratch:
            _write(scratch, ids, lengths)
        cached = _read(folder, labels)
    if cached is None:
        raise DataError(f"--cache-dir {cache_dir}: {folder} cannot be read back. Give another folder.")
    return cached


def encode_texts(texts: list[str], tokenizer: Any, max_length: int) -> TokenTable:
    """Token ids of texts without labels (all 0), not cached."""
    ids, lengths = _encode(texts, tokenizer, max_length)
    return TokenTable(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.zeros(len(texts), np.int64))


def clamp_length(max_length: int, tokenizer: Any, max_positions: int) -> int:
    """The longest input that both the option, the tokenizer and the model's position embeddings allow.

    Tokenizers of bare folders report 1e30 where they do not know.
    """
    return min(max_length, max_positions, int(min(tokenizer.model_max_length, 10**9)))


def _encode(texts: list[str] | pd.Series[str], tokenizer: Any, max_length: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    flat, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for start in range(0, len(texts), _CHUNK):
        chunk = tokenizer(
            list(texts[start : start + _CHUNK]),  # of a column, so many only are Python objects at once
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        flat.append(np.fromiter((token for ids in chunk for token in ids), np.int32))
        lengths.append(np.fromiter(map(len, chunk), np.int64))
    return np.concatenate(flat), np.concatenate(lengths)


def _read(folder: Path, labels: Labels) -> TokenTable | None:
    """What was written for these examples; None if it is not there, or damaged."""
    try:
        ids, offsets = np.load(folder / "ids.npy", mmap_mode="r"), np.load(folder / "offsets.npy")
    except (OSError, ValueError, EOFError):
        return None
    whole = len(offsets) == len(labels) + 1 and offsets[-1] == len(ids)
    return TokenTable(ids, offsets, labels) if whole else None


def _write(folder: Path, ids: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
    np.save(folder / "ids.npy", ids)
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    (folder / "about.json").write_text(json.dumps({"examples": len(lengths), "tokens": len(ids)}))
