"""Which texts stand again elsewhere: whole, but for case and punctuation, inside a longer text, or in a long run of tokens.

What a text's line, key and tokens are is in `folding`, how lines are found in each other in `line_index`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.folding import Ints, fold_texts
from pipeline.data.line_index import Flags, LineIndex

if TYPE_CHECKING:
    import pandas as pd

LONG_TOKENS = 4
"""From so many tokens on, a text that stands inside another is more than a common phrase."""
NGRAM_TOKENS = 8
"""Length of the runs of tokens that count as shared."""

KINDS = {
    "exact": "the same text",
    "normalised": "the same but for case, spacing, punctuation",
    "inside": "inside a longer text",
    "inside_long": f"inside a longer text, {LONG_TOKENS} or more tokens",
    "contains": f"contains a text of {LONG_TOKENS} or more tokens",
    "ngram": f"shares a run of {NGRAM_TOKENS} tokens",
    "either": "inside or contains",
    "leaking": "normalised, inside_long or contains",
}
"""What is counted of each text of one split as against those of another."""

LEAKING_PERCENT = 5.0
REPEATED_PERCENT = 1.0
"""From which share of leaking, or of repeated (normalised), test texts a reader of the scores is warned."""

EXAMPLE_CHARACTERS = 300
_EXAMPLES = 5


@dataclass(frozen=True)
class Overlap:
    """How much the texts of one split stand again in another."""

    counts: dict[str, dict[str, int]]
    """`a/b` -> kind of `KINDS` -> rows of b that overlap a in that way; `rows` is how many b has."""
    examples: dict[str, dict[str, list[dict[str, str]]]]
    """`a/b` -> kind -> a few texts of b, each with one of a."""


def overlap_metrics(counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Counts as metrics: `data/overlap_A_B_KIND` is the percentage of B's texts, or pairs of texts, that overlap A."""
    return {
        f"data/overlap_{splits.replace('/', '_')}_{kind}": 100 * found[kind] / max(1, found["rows"])
        for splits, found in counts.items()
        for kind in found
        if kind != "rows"
    }


def warn_of_overlap(metrics: Mapping[str, float]) -> str | None:
    """What must be said beside test scores, given what `overlap_metrics` made; None where there is little overlap."""
    leaking, repeated = (metrics.get(f"data/overlap_train_test_{kind}", 0.0) for kind in ("leaking", "normalised"))
    whole, either = (metrics.get(f"data/overlap_train_test_{kind}", 0.0) for kind in ("pair", "either_text"))  # of pairs
    if whole >= REPEATED_PERCENT or either >= LEAKING_PERCENT:
        return (
            f"Test overlaps train: {whole:.1f} % of the test pairs repeat a training pair, {either:.1f} % hold a text that "
            "stands in train. Scores on unseen texts would be lower; --split grouped keeps pairs that share a text on one side."
        )
    if leaking < LEAKING_PERCENT and repeated < REPEATED_PERCENT:
        return None
    return (
        f"Test overlaps train: {leaking:.1f} % of the test texts repeat a training text ({repeated:.1f} %), or "
        f"stand inside one or contain one with {LONG_TOKENS} or more tokens in common. Scores on unseen text would be lower; "
        "--split grouped keeps such texts on one side."
    )


def measure_overlap(splits: Mapping[str, pd.Series | Sequence[str]]) -> Overlap:
    """Rows that stand again in an earlier split, for every pair of splits.

    Args:
        splits: Split -> its texts, which row numbers count from 0.
    """
    names = list(splits)
    bounds = np.cumsum([0, *(len(splits[name]) for name in names)])
    rows = {name: slice(bounds[index], bounds[index + 1]) for index, name in enumerate(names)}
    folded = fold_texts(splits)
    text_of, line_of, key_of = folded.text_of, folded.line_of, folded.key_of
    index = LineIndex(folded.tokens, folded.lengths)

    counts: dict[str, dict[str, int]] = {}
    examples: dict[str, dict[str, list[dict[str, str]]]] = {}
    is_long = index.lengths >= LONG_TOKENS
    for a, b in combinations(names, 2):
        in_a = _mark(len(is_long), line_of[rows[a]])
        mine = line_of[rows[b]]
        inside, contains = index.inside(in_a)[mine], index.containing(in_a & is_long)[mine]
        found = {
            "exact": _mark(text_of.max(initial=-1) + 1, text_of[rows[a]])[text_of[rows[b]]],
            "normalised": _mark(key_of.max(initial=-1) + 1, key_of[rows[a]])[key_of[rows[b]]],
            "inside": inside,
            "inside_long": inside & is_long[mine],
            "contains": contains,
            "ngram": index.sharing(in_a, NGRAM_TOKENS)[mine],
        }
        found["either"] = inside | contains
        found["leaking"] = found["normalised"] | found["inside_long"] | contains
        counts[f"{a}/{b}"] = {"rows": len(mine), **{kind: int(found[kind].sum()) for kind in KINDS}}

        def other(kind: str, row: int, a: str = a, mine: Ints = mine, in_a: Flags = in_a, b: str = b) -> str:
            if kind == "exact":
                return splits[b][row]
            if kind == "normalised":
                return splits[a][int(np.flatnonzero(key_of[rows[a]] == key_of[rows[b]][row])[0])]
            line = int(mine[row])
            if kind in ("inside", "inside_long"):
                found = index.container(line, in_a)
            elif kind == "contains":
                found = index.content(line, in_a & is_long)
            else:
                found = index.sharer(line, in_a, NGRAM_TOKENS)
            return splits[a][int(np.flatnonzero(line_of[rows[a]] == found)[0])]

        shown = dict(found, normalised=found["normalised"] & ~found["exact"])  # an example that shows more than the kind before
        examples[f"{a}/{b}"] = {
            kind: [
                {b: splits[b][row][:EXAMPLE_CHARACTERS], a: other(kind, row)[:EXAMPLE_CHARACTERS]}
                for row in spread(np.flatnonzero(shown[kind]))
            ]
            for kind in ("exact", "normalised", "inside", "inside_long", "contains", "ngram")
        }
    return Overlap(counts, examples)


def _mark(size: int, chosen: Ints) -> Flags:
    marks = np.zeros(size, bool)
    marks[chosen] = True
    return marks


def spread(rows: Ints) -> list[int]:
    """A few of `rows`, from all over them."""
    few = np.unique(np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows))).astype(np.int64))
    return [int(row) for row in rows[few]]
