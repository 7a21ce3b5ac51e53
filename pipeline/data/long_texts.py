"""Texts that are longer than a model's input: their beginning, both their ends, or all of them in overlapping pieces.

Pairs of long texts are shortened first: where tokenizers (0.23) cuts one, it also makes every combination of what it cuts off
the first text with what it cuts off the second, though nobody asked; a pair of 16,000 words each takes twenty seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.fields import LongTexts
from pipeline.config.long_texts import LongTextsConfig
from pipeline.errors import ConfigError

HEAD, HEAD_TAIL, WINDOWS = "head", "head_tail", "windows"

_HEAD_SHARE = 128 / 510
"""Of the tokens that fit those from the beginning; Sun et al. (2019, arXiv:1905.05583) take the first 128 and the last 382."""
_TRIAL = "a text"
_USUAL = LongTextsConfig()
_KEPT = 4  # times `max_length`, so that where the text ends has no influence on the tokens that are read
_MARGIN = 8  # tokens by which the longer text of a pair stays the longer one: it gets the odd token
_LONG = 16  # characters a token; of a text below that many times `max_length` little is cut


@dataclass(frozen=True)
class LongTextReading:
    """What is read of a text that is too long."""

    way: LongTexts = _USUAL.long_texts
    """head: its first tokens; head_tail: its first and last tokens; windows: all of them, in pieces."""
    overlap: float = _USUAL.window_overlap
    """Share of a piece that the next one repeats, special tokens aside; at least, for the last piece ends with the text."""

    @classmethod
    def of(cls, config: LongTextsConfig) -> LongTextReading:
        """As the options say."""
        return cls(config.long_texts, config.window_overlap)

    @classmethod
    def recorded(cls, params: Mapping[str, str]) -> LongTextReading:
        """As a run's parameters say, among which only those are that are not as usual."""
        way: Any = params.get("long_texts", FROM_THE_BEGINNING.way)
        return cls(way, float(params.get("window_overlap", FROM_THE_BEGINNING.overlap)))

    @property
    def identity(self) -> dict[str, Any]:
        """What tells its token ids from those of other ways; nothing of `head`, which was the only one once."""
        if self.way == HEAD:
            return {}
        return {"long_texts": [self.way, self.overlap] if self.way == WINDOWS else self.way}

    def check(self, pairs: bool, tokenizer: Any, max_length: int) -> None:
        """Hold that texts can be read so, before a run is made.

        Raises:
            ConfigError: The data are pairs, or the tokenizer does not allow it.
        """
        if self.way == HEAD:
            return
        if pairs:
            raise ConfigError(
                f"--long-texts {self.way}: is for single texts, and the data are pairs of texts (--text-pair-column), of which "
                "the longer one is cut at its end. Leave --long-texts out; a higher --max-length cuts less."
            )
        _measure_room(tokenizer, max_length, self.way)

    def cut(self, tokens: NDArray[np.int32], room: int) -> list[NDArray[np.int32]]:
        """What is read of a text's tokens: one piece, or several with `windows`; the tokens as they are if there is room.

        All pieces of a text are full, so that none has to be told by a few tokens; for that the last one overlaps more.

        Args:
            tokens: Without special tokens; shape [tokens].
            room: The most tokens of a piece.
        """
        if len(tokens) <= room:
            return [tokens]
        if self.way == WINDOWS:
            last = len(tokens) - room
            starts = [*range(0, last, room - int(self.overlap * room)), last]
            return [tokens[start : start + room] for start in starts]
        head = round(_HEAD_SHARE * room) if self.way == HEAD_TAIL else room
        return [np.concatenate([tokens[:head], tokens[len(tokens) - room + head :]])]


FROM_THE_BEGINNING = LongTextReading()


@dataclass(frozen=True)
class CutTexts:
    """Texts after reading: token ids with special tokens around each piece."""

    whole: list[NDArray[np.int32]]
    """Of each text all token ids, special ones included."""
    pieces: list[NDArray[np.int32]]
    """The pieces of the first text, then those of the second, and so on."""
    counts: NDArray[np.int64]
    """How many pieces each text has; shape [texts]."""


def cut_texts(texts: Sequence[str], tokenizer: Any, max_length: int, reading: LongTextReading) -> CutTexts:
    """Token ids of texts, each piece with the special tokens that the tokenizer puts around a text.

    Made of a text's whole ids and not by the tokenizer's `return_overflowing_tokens`, which only fast tokenizers have, which
    leaves last pieces of a few tokens, and knows no tail.

    Args:
        tokenizer: A Hugging Face tokenizer.
        max_length: Of a piece, special tokens included.

    Raises:
        ConfigError: Nothing but special tokens would fit, or they stand elsewhere than around a text.
    """
    before, after, room = _measure_room(tokenizer, max_length, reading.way)
    encoded = tokenizer(list(texts), truncation=False, return_attention_mask=False, return_token_type_ids=False, verbose=False)
    whole = [np.array(ids, np.int32) for ids in encoded["input_ids"]]
    pieces: list[NDArray[np.int32]] = []
    counts = np.zeros(len(whole), np.int64)
    for place, ids in enumerate(whole):
        end = len(ids) - after
        cut = reading.cut(ids[before:end], room)
        pieces += [np.concatenate([ids[:before], piece, ids[end:]]) for piece in cut]
        counts[place] = len(cut)
    return CutTexts(whole, pieces, counts)


def _measure_room(tokenizer: Any, max_length: int, way: LongTexts) -> tuple[int, int, int]:
    """How many special tokens the tokenizer puts before a text and after it, and how many of its own have room between.

    Raises:
        ConfigError: None has, or special tokens stand elsewhere than around a text.
    """
    around, own = (tokenizer([_TRIAL], add_special_tokens=special)["input_ids"][0] for special in (True, False))
    specials = len(around) - len(own)
    before = next((place for place in range(specials + 1) if own and around[place : place + len(own)] == own), None)
    if before is None:
        raise ConfigError(
            f"--long-texts {way}: the model's tokenizer makes {around} of a text whose tokens are {own}, so where special "
            "tokens belong is not known. Leave --long-texts out."
        )
    if max_length <= specials:
        raise ConfigError(
            f"--long-texts {way}: an input of {max_length} tokens (--max-length) has no room beside the {specials} special "
            f"ones. Give --max-length {specials + 1} or more."
        )
    return before, specials - before, max_length - specials


def average_by_text(outputs: NDArray[np.float32], text_index: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """The mean of a model's outputs over the pieces of each text; outputs of a text of one piece stay as they are.

    Args:
        outputs: Shape [pieces, ...].
        text_index: Of which text each piece is, ascending, without gaps; shape [pieces]. None if every text is one piece.

    Returns:
        Shape [texts, ...].
    """
    if text_index is None or not len(outputs):
        return outputs
    starts = first_pieces(text_index).nonzero()[0]
    sums = np.add.reduceat(outputs, starts, axis=0, dtype=np.float64)
    counts = np.diff(starts, append=len(text_index)).reshape(-1, *[1] * (outputs.ndim - 1))
    mean: NDArray[np.float32] = (sums / counts).astype(np.float32)
    return mean


def first_pieces(text_index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pieces are the first ones of their text; shape [pieces]."""
    first: NDArray[np.bool_] = np.diff(text_index, prepend=-1) > 0
    return first


def refuse_idle_overlap(explicit: Collection[str], ways: Collection[LongTexts]) -> None:
    """Refuse a `--window-overlap` that was typed where no text is read in windows.

    Args:
        explicit: Names of the options that were typed.
        ways: How each training reads long texts.

    Raises:
        ConfigError: It would say nothing.
    """
    if "window_overlap" in explicit and WINDOWS not in ways:
        raise ConfigError(
            f"--window-overlap: --long-texts {', '.join(sorted(set(ways)))} makes no windows that could overlap. Leave "
            "--window-overlap out, or choose --long-texts windows."
        )


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
