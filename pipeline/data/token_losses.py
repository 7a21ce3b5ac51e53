"""What token ids lack of the texts: tokens that are cut off, and tokens that the tokenizer does not know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.fields import LongTexts
from pipeline.data.long_texts import HEAD_TAIL

TEXTS_CUT, TOKENS_CUT, UNKNOWN = "data/texts_cut_percent", "data/tokens_cut_percent", "data/unknown_tokens_percent"
TEXTS_IN_WINDOWS, PIECES = "data/texts_in_windows_percent", "data/pieces"
"""Names of the metrics; the last two with `--long-texts windows` alone."""

MOSTLY_UNKNOWN = 40.0
"""Percentage of unknown tokens from which on texts can hardly be told apart; SentencePiece puts a space before each."""


@dataclass(frozen=True)
class TokenLosses:
    """How many tokens of each example are read, unknown, and cut off, without those that the tokenizer puts around texts."""

    counts: NDArray[np.int32]
    """Shape [examples, 3]: tokens that are read, those of them that are the unknown token, and tokens that are cut off."""
    pieces: NDArray[np.int64] | None = None
    """In how many pieces each is read, with `--long-texts windows`; shape [examples]."""

    def subset(self, indices: NDArray[np.int64]) -> TokenLosses:
        """Of the examples at `indices`."""
        return TokenLosses(self.counts[indices], None if self.pieces is None else self.pieces[indices])

    @property
    def cut(self) -> NDArray[np.int32]:
        """Tokens that are cut off each example; shape [examples]."""
        return self.counts[:, 2]

    def metrics(self) -> dict[str, float]:
        """Percentages of examples that are cut, of all tokens that are cut off, and of the tokens read that are unknown.

        With windows also how many examples, in percent, are read in several pieces, and how many pieces there are of all.
        """
        read, unknown, cut = (int(total) for total in self.counts.sum(0, dtype=np.int64))
        windows = {}
        if self.pieces is not None:
            several = 100 * float((self.pieces > 1).mean()) if len(self.pieces) else 0.0
            windows = {TEXTS_IN_WINDOWS: several, PIECES: int(self.pieces.sum())}
        return {
            **windows,
            TEXTS_CUT: 100 * float((self.cut > 0).mean()) if len(self.counts) else 0.0,
            TOKENS_CUT: 100 * cut / max(1, read + cut),
            UNKNOWN: 100 * unknown / max(1, read),
        }


def count_losses(
    ids: NDArray[np.int32], lengths: NDArray[np.int64], cut: NDArray[np.int64] | int, tokenizer: Any
) -> NDArray[np.int32]:
    """The counts of `TokenLosses`.

    Args:
        ids: Token ids of the examples one after another.
        lengths: How many ids each example has.
        cut: How many tokens are cut off each example.
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
    counts[:, 2] = cut
    return counts


def count_cut(
    lengths: NDArray[np.int64], columns: Sequence[Sequence[str]], tokenizer: Any, max_length: int
) -> NDArray[np.int64]:
    """Tokens beyond `max_length`: only texts that fill it are tokenised once more, to see how long they are."""
    cut, full = np.zeros_like(lengths), np.flatnonzero(lengths >= max_length)
    if len(full):
        texts = ([column[row] for row in full.tolist()] for column in columns)
        whole = tokenizer(*texts, truncation=False, return_attention_mask=False, return_token_type_ids=False, verbose=False)
        cut[full] = np.fromiter(map(len, whole["input_ids"]), np.int64) - lengths[full]
    return cut


def describe_losses(metrics: dict[str, float], max_length: int, model: str, way: LongTexts = "head") -> Iterator[str]:
    """What is lost of the training texts, and a warning where next to nothing is left of them."""
    if PIECES in metrics:
        what = (
            f"{metrics[TEXTS_IN_WINDOWS]:.1f} % of the training texts are longer than {max_length} tokens and read in windows "
            f"({metrics[PIECES]:,.0f} pieces of all texts)"
        )
    else:
        where = "in the middle, to" if way == HEAD_TAIL else "at"
        what = (
            f"{metrics[TEXTS_CUT]:.1f} % of the training texts are cut {where} {max_length} tokens "
            f"({metrics[TOKENS_CUT]:.1f} % of all tokens are lost)"
        )
    yield f"{what}; {metrics[UNKNOWN]:.1f} % of the tokens are unknown to the tokenizer."
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
