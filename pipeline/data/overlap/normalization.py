"""Texts reduced to what they say: case, spacing and punctuation folded, then numbered, so that equal ones compare as numbers.

Defined in docs/explanation/splits.md. The *line* of a text is its tokens with a space between: what is left
between spaces and punctuation once case and compatibility forms of characters are folded. Its *key* is the line without
spaces. Texts come from Arrow columns and go through Python in chunks; what is kept of each is numbers.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


Ints = NDArray[np.integer]

_CHUNK = 50_000
_DIGEST_BYTES = 16  # two of a billion texts are mistaken for one with a probability below 1e-20
_APOSTROPHES = "'\u2018\u2019"


def fold_text(text: str) -> str:
    """The line of a text: NFKC, without case; apostrophes taken out, other punctuation read as spaces.

    So `don't` is `dont` and `well-made` is two tokens. Symbols stay, for two emoji are two texts; free-standing accents, such
    as the back-tick that serves as a quotation mark, do not. Of a text that is nothing but punctuation that is the line.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(_LETTERS).split()) or " ".join(folded.split())


class _Letters(dict[int, int | str | None]):
    def __missing__(self, code: int) -> int | str | None:
        category = unicodedata.category(chr(code))
        self[code] = " " if category[0] in "PZC" or category == "Sk" else code
        return self[code]


_LETTERS = _Letters({ord(mark): None for mark in _APOSTROPHES})


@dataclass(frozen=True)
class FoldedTexts:
    """Rows of texts as numbers, each counted from 0 in order of first appearance."""

    text_of: Ints
    """The text of each row; shape [rows]. Equal where the texts are the same, to the letter."""
    line_of: Ints
    """The line of each row; shape [rows]."""
    key_of: Ints
    """The key of each row; shape [rows]."""
    key_of_line: Ints
    """The key of each line; shape [lines]."""
    tokens: Ints
    """The tokens of all lines, one line after another; shape [tokens]."""
    lengths: Ints
    """Tokens per line; shape [lines]."""


def number_texts(texts: Mapping[str, pd.Series | Sequence[str]]) -> tuple[dict[str, Ints], pa.Array]:
    """A number per row, equal where the texts are, and the distinct texts in the order of their numbers.

    Args:
        texts: Split -> its texts; the numbers come back by split.
    """
    columns = [_as_arrow(column) for column in texts.values()]
    encoded = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.large_string())
    encoded = encoded.combine_chunks().dictionary_encode()
    bounds = np.cumsum([0, *map(len, columns)])
    numbers = encoded.indices.to_numpy()
    return {name: numbers[bounds[i] : bounds[i + 1]] for i, name in enumerate(texts)}, encoded.dictionary


def fold_texts(texts: Mapping[str, pd.Series | Sequence[str]]) -> FoldedTexts:
    """The texts of all splits, one split after another."""
    by_split, distinct = number_texts(texts)
    text_of = np.concatenate([np.zeros(0, np.int32), *by_split.values()])
    lines, keys, tokens, lengths = [], [], [], []
    for start in range(0, len(distinct), _CHUNK):  # not all texts as Python objects at once
        folded = [fold_text(text).encode() for text in distinct.slice(start, _CHUNK).to_pylist()]
        lines.append(_digests(folded))
        keys.append(_digests([line.replace(b" ", b"") for line in folded]))
        pieces = pc.split_pattern(pa.array(folded, pa.large_binary()), pattern=" ")
        amounts = pieces.value_lengths().to_numpy().copy()
        amounts[pc.binary_length(pieces.values).to_numpy()[pieces.offsets.to_numpy()[:-1]] == 0] = 0  # '' is not one token
        lengths.append(amounts)
        tokens.append(pieces.values.filter(pc.not_equal(pieces.values, b"")).dictionary_encode())
    line_of_text, key_of_text = _number(lines), _number(keys)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(line_of_text), prepend=-1))  # where each line appears first
    amounts = np.concatenate([np.zeros(0, np.int32), *lengths])
    is_first = np.zeros(len(amounts), bool)
    is_first[first] = True
    numbers = _number_tokens(tokens)[np.repeat(is_first, amounts)]
    del distinct, lines, keys, tokens
    pa.default_memory_pool().release_unused()  # Arrow would keep all of it for later
    return FoldedTexts(
        text_of=text_of,
        line_of=line_of_text[text_of],
        key_of=key_of_text[text_of],
        key_of_line=key_of_text[first],
        tokens=numbers,
        lengths=amounts[first],
    )


def number_values(values: Sequence[str]) -> Ints:
    """The number of each value."""
    return np.asarray(number_texts({"": values})[0][""])


def _as_arrow(column: pd.Series | Sequence[str]) -> pa.ChunkedArray:
    array = pa.array(column, pa.large_string())
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array], pa.large_string())


def _digests(values: Sequence[bytes]) -> pa.Array:
    joined = b"".join([hashlib.blake2b(value, digest_size=_DIGEST_BYTES).digest() for value in values])
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(_DIGEST_BYTES), len(values), [None, pa.py_buffer(joined)])


def _number(digests: Sequence[pa.Array]) -> Ints:
    whole = pa.chunked_array(digests, pa.binary(_DIGEST_BYTES)).combine_chunks()
    return np.asarray(whole.dictionary_encode().indices.to_numpy())


def _number_tokens(chunks: Sequence[pa.Array]) -> Ints:
    if not chunks:
        return np.zeros(0, np.int32)
    # Each chunk has its own dictionary; one for all is made of the dictionaries, not of the tokens.
    unified = pa.chunked_array(chunks).unify_dictionaries()
    return np.concatenate([chunk.indices.to_numpy() for chunk in unified.chunks])
