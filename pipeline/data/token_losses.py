"""What is lost between a text and the token ids that a model reads: what is cut off, and what becomes the unknown token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
