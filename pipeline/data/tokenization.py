"""Texts to token ids, kept in a table on disk; what is lost on the way is counted.

Pairs of long texts are shortened first: where tokenizers (0.23) cuts one, it also makes every combination of what it cuts off
the first text with what it cuts off the second, though nobody asked; a pair of 16,000 words each takes twenty seconds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic_io import writing
from pipeline.data.columns import LABEL, PAIR, TEXT, Input
from pipeline.errors import DataError
from pipeline.hashing import digest, find_damage, is_sealed, seal

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.data.batching import Examples

_LOG = logging.getLogger(__name__)
_CHUNK = 10_000
_KEPT = 4  # times `max_length`, so that where the text ends has no influence on the tokens that are read
_MARGIN = 8  # tokens by which the longer text of a pair stays the longer one: it gets the odd token
_LONG = 16  # characters a token; of a text below that many times `max_length` little is cut


def shorten_long_pairs(columns: list[list[str]], tokenizer: Any, max_length: int) -> list[list[str]]:
    """The texts with the far end of long ones left out, so that cutting pairs to `max_length` tokens gives the same tokens.

    Args:
        columns: First and second texts; texts that are not paired stay as they are.
        tokenizer: A Hugging Face tokenizer; with one in Python alone nothing is left out, for it has not that trouble.
    """
    bound = _LONG * max_length
    rows = [row for row, pair in enumerate(zip(*columns, strict=True)) if max(map(len, pair)) > bound]
    if len(columns) == 1 or not rows or not getattr(tokenizer, "is_fast", False):
        return columns
    firsts, seconds = map(list, columns)
    ends = [_ends(column, rows, tokenizer) for column in (firsts, seconds)]
    for row, first_ends, second_ends in zip(rows, *ends, strict=True):
        first_is_longer = len(first_ends) > len(second_ends)
        firsts[row] = _shorten(firsts[row], first_ends, _KEPT * max_length + _MARGIN * first_is_longer)
        seconds[row] = _shorten(seconds[row], second_ends, _KEPT * max_length + _MARGIN * (not first_is_longer))
    return [firsts, seconds]


def _ends(column: Sequence[str], rows: Sequence[int], tokenizer: Any) -> list[list[int]]:
    """Of some texts: where in the text each token ends."""
    encodings = tokenizer(
        [column[row] for row in rows],
        add_special_tokens=False,
        truncation=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [[end for _, end in offsets] for offsets in encodings["offset_mapping"]]


def _shorten(text: str, ends: Sequence[int], tokens: int) -> str:
    return text[: ends[tokens - 1]] if len(ends) > tokens else text


TEXTS_CUT, TOKENS_CUT, UNKNOWN = "data/texts_cut_percent", "data/tokens_cut_percent", "data/unknown_tokens_percent"
"""Names of the metrics."""

MOSTLY_UNKNOWN = 40.0
"""Percentage of unknown tokens from which on texts can hardly be told apart; SentencePiece puts a space before each."""


@dataclass(frozen=True)
class TokenLosses:
    """How many tokens of each example are read, unknown, and cut off, without those that the tokenizer puts around texts."""

    counts: NDArray[np.int32]
    """Shape [examples, 3]: tokens that are read, those of them that are the unknown token, and tokens that are cut off."""

    def subset(self, indices: NDArray[np.int64]) -> TokenLosses:
        """Of the examples at `indices`."""
        return TokenLosses(self.counts[indices])

    @property
    def cut(self) -> NDArray[np.int32]:
        """Tokens that are cut off each example; shape [examples]."""
        return self.counts[:, 2]

    def metrics(self) -> dict[str, float]:
        """Percentages of examples that are cut, of all tokens that are cut off, and of the tokens read that are unknown."""
        read, unknown, cut = (int(total) for total in self.counts.sum(0, dtype=np.int64))
        return {
            TEXTS_CUT: 100 * float((self.cut > 0).mean()) if len(self.counts) else 0.0,
            TOKENS_CUT: 100 * cut / max(1, read + cut),
            UNKNOWN: 100 * unknown / max(1, read),
        }


def count_losses(
    ids: NDArray[np.int32],
    lengths: NDArray[np.int64],
    columns: Sequence[Sequence[str]],
    tokenizer: Any,
    max_length: int,
) -> NDArray[np.int32]:
    """The counts of `TokenLosses`.

    Only texts that fill `max_length` are tokenised once more, to see how long they are.

    Args:
        ids: Token ids of the examples one after another.
        lengths: How many ids each example has.
        columns: The texts; of pairs that are one input, the second texts beside.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])

    def count(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        sums = np.concatenate([[0], np.cumsum(chosen)])
        difference: NDArray[np.int64] = sums[offsets[1:]] - sums[offsets[:-1]]
        return difference

    unknown_id = _unknown_id(tokenizer)
    around = [special for special in tokenizer.all_special_ids if special != unknown_id]
    counts = np.zeros((len(lengths), 3), np.int32)
    counts[:, 0] = count(~np.isin(ids, around))
    if unknown_id is not None:
        counts[:, 1] = count(ids == unknown_id)
    full = np.flatnonzero(lengths >= max_length)
    if len(full):
        texts = ([column[row] for row in full.tolist()] for column in columns)
        whole = tokenizer(*texts, truncation=False, return_attention_mask=False, return_token_type_ids=False, verbose=False)
        counts[full, 2] = np.fromiter(map(len, whole["input_ids"]), np.int64) - lengths[full]
    return counts


def describe_losses(metrics: dict[str, float], max_length: int, model: str) -> Iterator[str]:
    """What is lost of the training texts, and a warning where next to nothing is left of them."""
    yield (
        f"{metrics[TEXTS_CUT]:.1f} % of the training texts are cut at {max_length} tokens ({metrics[TOKENS_CUT]:.1f} % of all "
        f"tokens are lost); {metrics[UNKNOWN]:.1f} % of the tokens are unknown to the tokenizer."
    )
    if metrics[UNKNOWN] >= MOSTLY_UNKNOWN:
        yield f"Warning: {explain_unknown(metrics[UNKNOWN], model)}"


def explain_unknown(percent: float, model: str) -> str:
    """Why a model whose tokenizer knows next to nothing of the texts does not learn, and what would."""
    return (
        f"the tokenizer of {model} makes [UNK] of {percent:.0f} % of the tokens, so the model can hardly tell the texts apart, "
        "whatever the learning rate. Take an encoder whose vocabulary has the script and language of the texts."
    )


def _unknown_id(tokenizer: Any) -> int | None:
    """The id of the unknown token; None where there is none, or it has another use and so cannot be told."""
    unknown: int | None = tokenizer.unk_token_id
    around = (getattr(tokenizer, f"{name}_token_id", None) for name in ("cls", "sep", "bos", "eos"))
    return None if unknown in around else unknown


Labels = NDArray[np.int64] | NDArray[np.float32]
"""Index of the class, or the score, shape [examples]; of label sets 0 or 1 for each label, shape [examples, labels]."""


@dataclass(frozen=True)
class TokenTable:
    """Examples of unequal length: example i is `ids[offsets[i]:offsets[i + 1]]`, special tokens included."""

    ids: NDArray[np.int32]
    """Shape [tokens]."""
    offsets: NDArray[np.int64]
    """Shape [examples + 1]."""
    labels: Labels
    """Of each example."""
    segments: NDArray[np.int8] | None = None
    """Shape [tokens]; 0 for the first text of a pair and 1 for the second, where the model tells them apart by that."""
    losses: TokenLosses | None = None
    """What the ids lack of the texts; None of ids that were made of none."""

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
        places = [slice(self.offsets[index], self.offsets[index + 1]) for index in indices]
        offsets = np.cumsum([0, *(place.stop - place.start for place in places)]).astype(np.int64)

        def pick(column: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([column[place] for place in places]) if places else column[:0]

        segments = None if self.segments is None else pick(self.segments)
        losses = None if self.losses is None else self.losses.subset(indices)
        return TokenTable(pick(self.ids), offsets, self.labels[indices], segments, losses)

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
) -> TokenTable:
    """Token ids of a split, from the cache where the same content was tokenised the same way; a pair is one input.

    Args:
        table: Columns `text`, of pairs `text_pair`, and `label`.
        tokenizer: A Hugging Face tokenizer. Of a pair it cuts the longer text first.
        tokenizer_key: Identifies the tokenizer's content.
        content_sha256: Identifies the content of `table`.
        with_segments: Keep which text of a pair a token is of.

    Raises:
        DataError: The cache cannot be written.
    """
    identity = {"tokenizer": tokenizer_key, "max_length": max_length, "content": content_sha256}
    seconds = table.get(PAIR)
    if seconds is not None:
        identity |= {"pairs": "together", "segments": with_segments}
    with_segments &= seconds is not None

    def encode() -> Encoded:
        return encode_columns(table[TEXT], seconds, tokenizer, max_length, with_segments)

    return read_or_encode(identity, table[LABEL].to_numpy(), encode, cache_dir, with_segments)


def encode_texts(inputs: Sequence[Input], tokenizer: Any, max_length: int, with_segments: bool = False) -> TokenTable:
    """Token ids of texts or pairs without labels (all 0), not cached."""
    firsts = [example if isinstance(example, str) else example[0] for example in inputs]
    seconds = [example[1] for example in inputs if not isinstance(example, str)] or None
    encoded = encode_columns(firsts, seconds, tokenizer, max_length, with_segments and seconds is not None)
    labels = np.zeros(len(inputs), np.int64)
    return TokenTable(encoded.ids, encoded.offsets, labels, encoded.segments, TokenLosses(encoded.losses))


def read_or_encode(
    identity: dict[str, Any], labels: NDArray[Any], encode: Callable[[], Encoded], cache_dir: str, with_segments: bool = False
) -> TokenTable:
    """The token ids that are cached under `identity`, or those that `encode` makes, with the labels of their examples.

    Raises:
        DataError: The cache cannot be written.
    """
    folder = Path(cache_dir) / "tokens" / digest(identity)[:16]
    cached = _read(folder, labels, with_segments)
    if cached is None:
        encoded = encode()
        with writing(folder, cache_dir) as scratch:
            if _read(folder, labels, with_segments) is None:  # nobody was quicker
                encoded.write(scratch)
        cached = _read(folder, labels, with_segments)
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
    """Token ids of examples one after another, as `TokenTable` has them."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    segments: NDArray[np.int8] | None
    losses: NDArray[np.int32]
    """The counts of `TokenLosses`."""

    def write(self, folder: Path) -> None:
        """Into a folder of the cache."""
        np.save(folder / "ids.npy", self.ids)
        np.save(folder / "offsets.npy", self.offsets)
        np.save(folder / "losses.npy", self.losses)
        if self.segments is not None:
            np.save(folder / "segments.npy", self.segments)
        about = {"examples": len(self.offsets) - 1, "tokens": len(self.ids)}
        (folder / "about.json").write_text(json.dumps(about))
        seal(folder)


def encode_columns(
    texts: Sequence[str] | pd.Series[str],
    seconds: Sequence[str] | pd.Series[str] | None,
    tokenizer: Any,
    max_length: int,
    with_segments: bool = False,
) -> Encoded:
    """Token ids of texts, or of pairs of them as one input each."""
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
        losses.append(count_losses(flat[-1], lengths[-1], columns, tokenizer, max_length))
        if with_segments:
            kinds.append(np.fromiter((kind for row in chunk["token_type_ids"] for kind in row), np.int8))
    offsets = np.cumsum(np.concatenate([[0], *lengths])).astype(np.int64)
    return Encoded(np.concatenate(flat), offsets, np.concatenate(kinds) if with_segments else None, np.concatenate(losses))


def _read(folder: Path, labels: NDArray[Any], with_segments: bool) -> TokenTable | None:
    """What was written for these examples; None if it is not there, or damaged, which is said."""
    if not is_sealed(folder):  # not there, half gone, or of a version that wrote no checksums
        return None
    if damaged := find_damage(folder, ["ids.npy", "offsets.npy", "losses.npy", *(["segments.npy"] if with_segments else [])]):
        _LOG.warning("Token ids are damaged (%s): they are made anew.", folder / damaged)
        return None
    try:
        ids, offsets = np.load(folder / "ids.npy", mmap_mode="r"), np.load(folder / "offsets.npy")
        losses = np.load(folder / "losses.npy")
        segments = np.load(folder / "segments.npy", mmap_mode="r") if with_segments else None
    except (OSError, ValueError, EOFError):
        return None
    whole = len(offsets) == len(labels) + 1 and offsets[-1] == len(ids) and (segments is None or len(segments) == len(ids))
    whole &= losses.shape == (len(labels), 3)
    return TokenTable(ids, offsets, labels, segments, TokenLosses(losses)) if whole else None
