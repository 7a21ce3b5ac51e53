"""Texts to token ids, kept in a table on disk; what is lost on the way is counted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic_io import writing
from pipeline.data.columns import LABEL, PAIR, TEXT, Input
from pipeline.data.long_texts import (
    FROM_THE_BEGINNING,
    HEAD,
    WINDOWS,
    LongTextReading,
    cut_texts,
    first_pieces,
    shorten_long_pairs,
)
from pipeline.data.token_losses import TokenLosses, count_cut, count_losses
from pipeline.errors import DataError
from pipeline.hashing import digest, find_damage, is_sealed, seal

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.data.batching import Examples

_LOG = logging.getLogger(__name__)
_CHUNK = 10_000
_SEGMENTS, _TEXT_INDEX = "segments.npy", "text_index.npy"
_FEW = 1_000  # texts of any length, all of whose tokens are Python objects at once


Labels = NDArray[np.int64] | NDArray[np.float32]
"""Index of the class, or the score, shape [examples]; of label sets 0 or 1 for each label, shape [examples, labels]."""


@dataclass(frozen=True)
class TokenTable:
    """Texts of unequal length: piece i is `ids[offsets[i]:offsets[i + 1]]`, special tokens included.

    A piece is what a model takes as one input: a whole text, a pair of texts, or with `--long-texts windows` a part of a text.
    """

    ids: NDArray[np.int32]
    """Shape [tokens]."""
    offsets: NDArray[np.int64]
    """Shape [pieces + 1]."""
    labels: Labels
    """As `Task.targets` has them, a row per text."""
    segments: NDArray[np.int8] | None = None
    """Shape [tokens]; 0 for the first text of a pair and 1 for the second, where the model tells them apart by that."""
    losses: TokenLosses | None = None
    """What the ids lack of the texts; None of ids that were made of none."""
    text_index: NDArray[np.int64] | None = None
    """Of which text each piece is, ascending; shape [pieces]. None where every text is one piece."""

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per piece; shape [pieces]."""
        return np.diff(self.offsets)

    @cached_property
    def piece_labels(self) -> Labels:
        """Each piece has its text's label; shape [pieces]."""
        return self.labels if self.text_index is None else self.labels[self.text_index]

    def count_texts(self, pieces: NDArray[np.int64]) -> int:
        """How many texts begin with one of these pieces: over all pieces of an epoch every text counts once."""
        return len(pieces) if self.text_index is None else int(self._is_first[pieces].sum())

    @cached_property
    def _is_first(self) -> NDArray[np.bool_]:
        """Which pieces are the first ones of their text; shape [pieces]."""
        return np.ones(len(self), np.bool_) if self.text_index is None else first_pieces(self.text_index)

    def tokens(self, piece: int) -> NDArray[np.int32]:
        """Token ids of one piece; shape [length]."""
        return self.ids[self.offsets[piece] : self.offsets[piece + 1]]

    def subset(self, indices: NDArray[np.int64]) -> TokenTable:
        """The texts at `indices`, in that order, each with all its pieces."""
        if len(indices) == len(self) and np.array_equal(indices, np.arange(len(self))):
            return self
        pieces, text_index = indices, None
        if self.text_index is not None:
            starts = np.flatnonzero(self._is_first)
            counts = np.diff(starts, append=len(self.text_index))[indices]
            text_index = np.repeat(np.arange(len(indices)), counts)
            pieces = np.concatenate([pieces[:0], *map(np.arange, starts[indices], starts[indices] + counts)])
        places = [slice(self.offsets[piece], self.offsets[piece + 1]) for piece in pieces]
        offsets = np.cumsum([0, *(place.stop - place.start for place in places)]).astype(np.int64)

        def pick(column: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([column[place] for place in places]) if places else column[:0]

        segments = None if self.segments is None else pick(self.segments)
        losses = None if self.losses is None else self.losses.subset(indices)
        return TokenTable(pick(self.ids), offsets, self.labels[indices], segments, losses, text_index)

    def as_examples(self, make: Callable[[TokenTable], Examples]) -> Examples:
        """What a model is fed with, given how it is made of a table: each example is one row of the model's input."""
        return make(self)


def tokenize(
    table: pd.DataFrame,
    tokenizer: Any,
    tokenizer_key: str,
    max_length: int,
    content_sha256: str,
    cache_dir: str,
    with_segments: bool = False,
    reading: LongTextReading = FROM_THE_BEGINNING,
) -> TokenTable:
    """Token ids of a split, from the cache where the same content was tokenised the same way; a pair is one input.

    Args:
        table: Columns `text`, of pairs `text_pair`, and `label`.
        tokenizer: A Hugging Face tokenizer. Of a pair it cuts the longer text first.
        tokenizer_key: Identifies the tokenizer's content.
        content_sha256: Identifies the content of `table`.
        with_segments: Keep which text of a pair a token is of.
        reading: What is read of single texts that are too long.

    Raises:
        ConfigError: The tokenizer does not allow that.
        DataError: The cache cannot be written.
    """
    identity = {**identify_ids(tokenizer, tokenizer_key, max_length, content_sha256), **reading.identity}
    seconds = table.get(PAIR)
    if seconds is not None:
        identity |= {"pairs": "together", "segments": with_segments}
    with_segments &= seconds is not None

    def encode() -> Encoded:
        return encode_columns(table[TEXT], seconds, tokenizer, max_length, with_segments, reading)

    return read_or_encode(identity, table[LABEL].to_numpy(), encode, cache_dir, with_segments, reading.way == WINDOWS)


def encode_texts(
    inputs: Sequence[Input],
    tokenizer: Any,
    max_length: int,
    with_segments: bool = False,
    reading: LongTextReading = FROM_THE_BEGINNING,
) -> TokenTable:
    """Token ids of texts or pairs without labels (all 0), not cached."""
    firsts = [example if isinstance(example, str) else example[0] for example in inputs]
    seconds = [example[1] for example in inputs if not isinstance(example, str)] or None
    encoded = encode_columns(firsts, seconds, tokenizer, max_length, with_segments and seconds is not None, reading)
    return encoded.as_table(np.zeros(len(inputs), np.int64))


def identify_ids(tokenizer: Any, tokenizer_key: str, max_length: int, content_sha256: str) -> dict[str, Any]:
    """What decides the token ids of texts.

    A tokenizer whose own files let it cut texts at their beginning did so once, and one whose files lack a column of its merges
    joined nothing, so the ids of then are told apart.
    """
    identity: dict[str, Any] = {"tokenizer": tokenizer_key, "max_length": max_length, "content": content_sha256}
    if getattr(tokenizer, "has_restored_merges", False):
        identity["merges"] = "restored"
    by_its_files = getattr(tokenizer, "init_kwargs", {}).get("truncation_side", "right")
    return identity if by_its_files == "right" else {**identity, "cut": "at the end"}


def read_or_encode(
    identity: dict[str, Any],
    labels: NDArray[Any],
    encode: Callable[[], Encoded],
    cache_dir: str,
    with_segments: bool = False,
    in_pieces: bool = False,
) -> TokenTable:
    """The token ids that are cached under `identity`, or those that `encode` makes, with the labels of their examples.

    Raises:
        DataError: The cache cannot be written.
    """
    folder = Path(cache_dir) / "tokens" / digest(identity)[:16]
    parts = [name for name, is_there in ((_SEGMENTS, with_segments), (_TEXT_INDEX, in_pieces)) if is_there]
    cached = _read(folder, labels, parts)
    if cached is None:
        encoded = encode()
        with writing(folder, cache_dir) as scratch:
            if _read(folder, labels, parts) is None:  # nobody was quicker
                encoded.write(scratch)
        cached = _read(folder, labels, parts)
    if cached is None:
        raise DataError(f"--cache-dir {cache_dir}: {folder} cannot be read back. Give another folder.")
    return cached


def clamp_length(max_length: int, tokenizer: Any, max_positions: int) -> int:
    """The longest input that both the option, the tokenizer and the model's position embeddings allow.

    Tokenizers of bare folders report 1e30 where they do not know.
    """
    return min(max_length, max_positions, int(min(tokenizer.model_max_length, 10**9)))


@dataclass(frozen=True)
class Encoded:
    """Token ids of texts one after another, as `TokenTable` has them."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    segments: NDArray[np.int8] | None
    losses: NDArray[np.int32]
    """The counts of `TokenLosses`."""
    text_index: NDArray[np.int64] | None = None

    def as_table(self, labels: Labels) -> TokenTable:
        """With the labels of the texts."""
        pieces = None if self.text_index is None else np.bincount(self.text_index, minlength=len(labels))
        losses = TokenLosses(self.losses, pieces)
        return TokenTable(self.ids, self.offsets, labels, self.segments, losses, self.text_index)

    def write(self, folder: Path) -> None:
        """Into a folder of the cache."""
        np.save(folder / "ids.npy", self.ids)
        np.save(folder / "offsets.npy", self.offsets)
        np.save(folder / "losses.npy", self.losses)
        if self.segments is not None:
            np.save(folder / _SEGMENTS, self.segments)
        if self.text_index is not None:
            np.save(folder / _TEXT_INDEX, self.text_index)
        about = {"examples": len(self.losses), "rows": len(self.offsets) - 1, "tokens": len(self.ids)}
        (folder / "about.json").write_text(json.dumps(about))
        seal(folder)


def encode_columns(
    texts: Sequence[str] | pd.Series[str],
    seconds: Sequence[str] | pd.Series[str] | None,
    tokenizer: Any,
    max_length: int,
    with_segments: bool = False,
    reading: LongTextReading = FROM_THE_BEGINNING,
) -> Encoded:
    """Token ids of texts, or of pairs of them as one input each."""
    if reading.way != HEAD:
        return _encode_long_texts(texts, tokenizer, max_length, reading)
    flat, kinds, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int8)], [np.zeros(0, np.int64)]
    losses = [np.zeros((0, 3), np.int32)]
    for start in range(0, len(texts), _CHUNK):  # of a column, so many only are Python objects at once
        columns = [list(column[start : start + _CHUNK]) for column in (texts, seconds) if column is not None]
        chunk = tokenizer(
            *shorten_long_pairs(columns, tokenizer, max_length),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=with_segments,
        )
        flat.append(np.fromiter((token for ids in chunk["input_ids"] for token in ids), np.int32))
        lengths.append(np.fromiter(map(len, chunk["input_ids"]), np.int64))
        losses.append(count_losses(flat[-1], lengths[-1], count_cut(lengths[-1], columns, tokenizer, max_length), tokenizer))
        if with_segments:
            kinds.append(np.fromiter((kind for row in chunk["token_type_ids"] for kind in row), np.int8))
    segments = np.concatenate(kinds) if with_segments else None
    return Encoded(np.concatenate(flat), _offsets(lengths), segments, np.concatenate(losses))


def _encode_long_texts(
    texts: Sequence[str] | pd.Series[str], tokenizer: Any, max_length: int, reading: LongTextReading
) -> Encoded:
    """Token ids of texts of which not only the beginning is read; with windows, tokens that overlap count as read once."""
    flat, lengths, counts = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    losses = [np.zeros((0, 3), np.int32)]
    for start in range(0, len(texts), _FEW):
        cut = cut_texts(list(texts[start : start + _FEW]), tokenizer, max_length, reading)
        flat += cut.pieces
        lengths.append(np.fromiter(map(len, cut.pieces), np.int64))
        counts.append(cut.counts)
        read = cut.whole if reading.way == WINDOWS else cut.pieces
        whole_lengths, read_lengths = (np.fromiter(map(len, rows), np.int64) for rows in (cut.whole, read))
        losses.append(count_losses(np.concatenate(read), read_lengths, whole_lengths - read_lengths, tokenizer))
    pieces = np.concatenate(counts)
    text_index = np.repeat(np.arange(len(pieces)), pieces) if reading.way == WINDOWS else None
    return Encoded(np.concatenate(flat), _offsets(lengths), None, np.concatenate(losses), text_index)


def _offsets(lengths: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.cumsum(np.concatenate([[0], *lengths])).astype(np.int64)


def _read(folder: Path, labels: NDArray[Any], parts: Sequence[str]) -> TokenTable | None:
    """What was written for these texts; None if it is not there, or damaged, which is said.

    Args:
        parts: Names of the files that are not there for every table.
    """
    if not is_sealed(folder):  # not there, half gone, or of a version that wrote no checksums
        return None
    if damaged := find_damage(folder, ["ids.npy", "offsets.npy", "losses.npy", *parts]):
        _LOG.warning("Token ids are damaged (%s): they are made anew.", folder / damaged)
        return None
    try:
        ids, offsets = np.load(folder / "ids.npy", mmap_mode="r"), np.load(folder / "offsets.npy")
        losses = np.load(folder / "losses.npy")
        segments = np.load(folder / _SEGMENTS, mmap_mode="r") if _SEGMENTS in parts else None
        text_index = np.load(folder / _TEXT_INDEX) if _TEXT_INDEX in parts else np.arange(len(labels))
    except (OSError, ValueError, EOFError):
        return None
    whole = len(offsets) == len(text_index) + 1 and offsets[-1] == len(ids) and losses.shape == (len(labels), 3)
    whole &= (segments is None or len(segments) == len(ids)) and len(np.unique(text_index)) == len(labels)
    encoded = Encoded(ids, offsets, segments, losses, text_index if _TEXT_INDEX in parts else None)
    return encoded.as_table(labels) if whole else None
