"""Pairs of long texts, shortened before they are tokenised together.

Where tokenizers (0.23) cuts a pair it also makes every combination of what it cuts off the first text with what it cuts off the
second, though nobody asked: a pair of 16,000 words each takes twenty seconds. What can be in no input is better not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    found = tokenizer(
        [column[row] for row in rows],
        add_special_tokens=False,
        truncation=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [[end for _, end in offsets] for offsets in found["offset_mapping"]]


def _shorten(text: str, ends: Sequence[int], tokens: int) -> str:
    return text[: ends[tokens - 1]] if len(ends) > tokens else text
