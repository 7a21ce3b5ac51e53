"""Which texts stand again elsewhere: whole, but for case and punctuation, inside a longer text, or in a long run of tokens.

What a text's line, key and tokens are is in `normalization`, how lines are found in each other in `suffix_array`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.overlap.normalization import FoldedTexts, Ints, fold_texts
from pipeline.data.overlap.suffix_array import Flags, LineIndex

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
_SHOWN_KINDS = ("exact", "normalised", "inside", "inside_long", "contains", "ngram")

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
        f"data/overlap_{splits.replace('/', '_')}_{kind}": 100 * by_kind[kind] / max(1, by_kind["rows"])
        for splits, by_kind in counts.items()
        for kind in by_kind
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
    index = LineIndex(folded.tokens, folded.lengths)
    counts: dict[str, dict[str, int]] = {}
    examples: dict[str, dict[str, list[dict[str, str]]]] = {}
    for a, b in combinations(names, 2):
        pair = _SplitPair(folded, index, rows[a], rows[b])
        flags = pair.find()
        counts[f"{a}/{b}"] = {"rows": len(splits[b]), **{kind: int(flags[kind].sum()) for kind in KINDS}}
        shown = flags | {"normalised": flags["normalised"] & ~flags["exact"]}  # more than the kind before shows
        examples[f"{a}/{b}"] = {
            kind: [
                {b: splits[b][row][:EXAMPLE_CHARACTERS], a: splits[a][pair.partner(kind, row)][:EXAMPLE_CHARACTERS]}
                for row in spread(np.flatnonzero(shown[kind]))
            ]
            for kind in _SHOWN_KINDS
        }
    return Overlap(counts, examples)


@dataclass(frozen=True)
class _SplitPair:
    """Two splits of folded texts, each a slice of the rows; what is asked is which rows of `b` overlap `a`."""

    folded: FoldedTexts
    index: LineIndex
    a: slice
    b: slice

    @cached_property
    def lines_of_a(self) -> Flags:
        """Which lines stand in `a`; shape [lines]."""
        return _mark(len(self.index.lengths), self.folded.line_of[self.a])

    @cached_property
    def is_long(self) -> Flags:
        """Which lines are more than a common phrase; shape [lines]."""
        return self.index.lengths >= LONG_TOKENS

    def find(self) -> dict[str, Flags]:
        """Kind of `KINDS` -> which rows of `b` overlap `a` in that way; shape [rows of b]."""
        lines_of_b = self.folded.line_of[self.b]
        inside = self.index.inside(self.lines_of_a)[lines_of_b]
        contains = self.index.containing(self.lines_of_a & self.is_long)[lines_of_b]
        inside_long = inside & self.is_long[lines_of_b]
        normalised = self._stand_in_a(self.folded.key_of)
        return {
            "exact": self._stand_in_a(self.folded.text_of),
            "normalised": normalised,
            "inside": inside,
            "inside_long": inside_long,
            "contains": contains,
            "ngram": self.index.sharing(self.lines_of_a, NGRAM_TOKENS)[lines_of_b],
            "either": inside | contains,
            "leaking": normalised | inside_long | contains,
        }

    def partner(self, kind: str, row: int) -> int:
        """The first row of `a` that `row` of `b`, which `find` has found, overlaps in that way; both counted from 0."""
        if kind in ("exact", "normalised"):
            number_of = self.folded.text_of if kind == "exact" else self.folded.key_of
            return _first(number_of[self.a], int(number_of[self.b][row]))
        line = int(self.folded.line_of[self.b][row])
        if kind in ("inside", "inside_long"):
            partner = self.index.container(line, self.lines_of_a)
        elif kind == "contains":
            partner = self.index.content(line, self.lines_of_a & self.is_long)
        else:
            partner = self.index.sharer(line, self.lines_of_a, NGRAM_TOKENS)
        return _first(self.folded.line_of[self.a], partner)

    def _stand_in_a(self, number_of: Ints) -> Flags:
        """Which rows of `b` have the number of some row of `a`."""
        return _mark(number_of.max(initial=-1) + 1, number_of[self.a])[number_of[self.b]]


def _first(numbers: Ints, number: int) -> int:
    return int(np.flatnonzero(numbers == number)[0])


def _mark(size: int, chosen: Ints) -> Flags:
    marks = np.zeros(size, bool)
    marks[chosen] = True
    return marks


def spread(rows: Ints) -> list[int]:
    """A few of `rows`, from all over them."""
    few = np.unique(np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows))).astype(np.int64))
    return [int(row) for row in rows[few]]
