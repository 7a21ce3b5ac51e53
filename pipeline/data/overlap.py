"""Which texts stand again elsewhere: whole, but for case and punctuation, inside a longer text, or in a long run of tokens.

Definitions (docs/splits.md has them for readers). The *line* of a text is what is left of it when case and spacing are
folded; its *tokens* are what spaces separate in the line, punctuation included. Text u stands *inside* text w if u's tokens
follow one another somewhere in w and w has more of them.

Everything is read off one suffix array over the tokens of the distinct lines: the suffixes that begin with a given text are
neighbours in it, so who contains whom is a matter of intervals and prefix sums. No pair of texts is ever compared, so a
million texts that all contain each other cost no more than a million that do not.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations, count

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

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

_EXAMPLES = 5
_EXAMPLE_CHARACTERS = 300


def fold_line(text: str) -> str:
    """The text with case, spacing and compatibility forms of characters (Unicode NFKC) folded."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def fold_punctuation(line: str) -> str:
    """The line without spaces, punctuation and control characters; a line of nothing else stays as it is.

    Symbols stay, for two emoji are two texts; free-standing accents, such as the back-tick that serves as a quotation mark,
    do not.
    """
    return line.translate(_LETTERS) or line


class _Letters(dict[int, int | None]):
    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        self[code] = None if category[0] in "PZC" or category == "Sk" else code
        return self[code]


_LETTERS = _Letters()


def number_distinct(values: Iterable[str]) -> tuple[Ints, list[str]]:
    """The number of each value, counted from 0 in order of first appearance, and the distinct values."""
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    return np.fromiter(map(numbers.__getitem__, values), np.int64), list(numbers)


class LineIndex:
    """Who stands inside whom, of distinct lines.

    The suffix array is built by prefix doubling (Manber and Myers 1993) on the tokens, and of it only what is not yet told
    apart is sorted again. Each doubling's ranks are kept: with them two windows of any length are compared in constant time.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        """Index `lines`, which must be distinct and as `fold_line` leaves them."""
        pieces = [line.split(" ") if line else [] for line in lines]
        ids: defaultdict[str, int] = defaultdict(count().__next__)
        self.lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        """Tokens per line; shape [lines]."""
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)[: len(lines)]
        """Position of each line's first token; shape [lines]."""
        self.tokens = np.fromiter(map(ids.__getitem__, chain.from_iterable(pieces)), np.int64, int(self.lengths.sum()))
        self.line_of = np.repeat(np.arange(len(lines)), self.lengths)
        """The line in which each token stands; shape [tokens]."""
        self._remaining = (self.starts + self.lengths)[self.line_of] - np.arange(len(self.tokens))
        self._ranks = self._sort()
        self.order: Ints = np.argsort(self._ranks[-1], kind="stable")
        """The suffix array: positions of tokens, sorted by what follows up to the end of their line; shape [tokens]."""

    @cached_property
    def intervals(self) -> tuple[Ints, Ints]:
        """From where to before where in `order` the suffixes stand that begin with each line; shape [lines] each.

        A line of no tokens has an empty interval.
        """
        first, after = np.zeros(len(self.lengths), np.int64), np.zeros(len(self.lengths), np.int64)
        whole = np.flatnonzero(self.lengths)
        level = np.minimum(np.log2(np.maximum(self.lengths, 1)).astype(np.int64), len(self._ranks) - 1)
        for number, rank in enumerate(self._ranks):
            members = whole[level[whole] == number]
            start, length = self.starts[members], self.lengths[members]
            # A line is the least of the suffixes that begin with it, for the end of a line sorts before any token.
            low = self._ranks[-1][start].astype(np.int64)
            first[members] = low
            good, bad = low, np.full(len(members), len(self.order))
            second = length - (1 << number)
            while (bad - good > 1).any():
                middle = (good + bad) // 2
                place = self.order[middle]
                begins = (rank[place] == rank[start]) & (self._remaining[place] >= length)
                last = np.minimum(place + second, len(self.order) - 1)
                begins &= rank[last] == rank[start + second]
                good, bad = np.where(begins, middle, good), np.where(begins, bad, middle)
            after[members] = good + 1
        return first, after

    @cached_property
    def own_places(self) -> Ints:
        """Where in `order` each line's own beginning stands; shape [lines]; -1 for a line of no tokens."""
        places = np.empty(len(self.order), np.int64)
        places[self.order] = np.arange(len(self.order))
        own = np.full(len(self.lengths), -1)
        own[self.lengths > 0] = places[self.starts[self.lengths > 0]]
        return own

    def inside(self, containers: Flags) -> Flags:
        """Of each line, whether it stands inside a longer one of `containers`; shape [lines] both."""
        first, after = self.intervals
        seen = np.concatenate([[0], np.cumsum(containers[self.line_of[self.order]])])
        own = containers & (self.lengths > 0)  # lines are distinct: only itself is no longer one
        return np.asarray(seen[after] - seen[first] - own > 0)

    def containing(self, contents: Flags) -> Flags:
        """Of each line, whether a shorter one of `contents` stands inside it; shape [lines] both."""
        begun = self._begun_at(contents)
        found = np.zeros(len(self.lengths), bool)
        found[self.line_of[self.order[begun > 0]]] = True
        return found

    def _begun_at(self, contents: Flags) -> Ints:
        """How many lines of `contents` begin at each place of `order` inside another line."""
        first, after = self.intervals
        chosen = np.flatnonzero(contents & (self.lengths > 0))
        change = np.zeros(len(self.order) + 1, np.int64)
        np.add.at(change, first[chosen], 1)
        np.add.at(change, after[chosen], -1)
        begun = np.cumsum(change)[:-1]
        begun[self.own_places[chosen]] -= 1
        return begun

    def sharing(self, others: Flags, tokens: int = NGRAM_TOKENS) -> Flags:
        """Of each line, whether a run of so many tokens, a power of two, stands in one of `others` too."""
        windows = self._windows(tokens)
        full = np.flatnonzero(self._remaining >= tokens)
        present = np.zeros(len(self.tokens), bool)
        present[windows[full[others[self.line_of[full]]]]] = True
        found = np.zeros(len(self.lengths), bool)
        found[self.line_of[full[present[windows[full]]]]] = True
        return found

    def container(self, line: int, among: Flags) -> int:
        """A longer line of `among` inside which `line` stands."""
        first, after = self.intervals
        holders = self.line_of[self.order[first[line] : after[line]]]
        return int(holders[among[holders] & (holders != line)][0])

    def content(self, line: int, among: Flags) -> int:
        """A shorter line of `among` that stands inside `line`."""
        first, after = self.intervals
        begun = self._begun_at(among)
        place = np.flatnonzero((begun > 0) & (self.line_of[self.order] == line))[0]
        fits = among & (first <= place) & (place < after)
        fits[line] = False
        return int(np.flatnonzero(fits)[0])

    def sharer(self, line: int, among: Flags, tokens: int = NGRAM_TOKENS) -> int:
        """A line of `among` that shares a run of so many tokens with `line`."""
        windows = self._windows(tokens)
        positions = np.flatnonzero(among[self.line_of] & (self._remaining >= tokens))
        mine = np.arange(self.starts[line], self.starts[line] + self.lengths[line] - tokens + 1)
        return int(self.line_of[positions[np.isin(windows[positions], windows[mine])][0]])

    def _windows(self, tokens: int) -> NDArray[np.int32]:
        """A number per position that is equal where the next `tokens` tokens are."""
        return self._ranks[min(tokens.bit_length() - 1, len(self._ranks) - 1)]

    def _sort(self) -> list[NDArray[np.int32]]:
        """Ranks of the windows of 1, 2, 4, ... tokens: how many positions have a smaller one.

        Windows end with their line. The list ends where every two suffixes are told apart or the same to their end.
        """
        before = np.concatenate([[0], np.cumsum(np.bincount(self.tokens, minlength=1))])
        rank = before[self.tokens].astype(np.int32)
        ranks = [rank]
        sizes = np.bincount(self.tokens, minlength=1)[self.tokens]
        width = 1
        active = np.flatnonzero((sizes > 1) & (self._remaining >= width))
        while len(active):
            follows = self._remaining[active] > width
            key = rank[active].astype(np.int64) * (len(rank) + 1)
            key[follows] += rank[active[follows] + width] + 1
            by_key = np.argsort(key)  # ties need no order: they keep one rank
            key, active = key[by_key], active[by_key]
            old = rank[active]
            place = np.arange(len(key))
            new_starts = np.concatenate([[True], key[1:] != key[:-1]])
            old_starts = np.concatenate([[True], old[1:] != old[:-1]])
            within = np.maximum.accumulate(np.where(new_starts, place, 0)) - np.maximum.accumulate(
                np.where(old_starts, place, 0)
            )
            rank = rank.copy()
            rank[active] = old + within
            ranks.append(rank)
            width *= 2
            bounds = np.append(np.flatnonzero(new_starts), len(key))
            alone = np.repeat(np.diff(bounds) == 1, np.diff(bounds))
            # Of windows that end before `width` tokens the whole suffix is known, so their order is final.
            active = active[~alone & (self._remaining[active] >= width)]
        return ranks


@dataclass(frozen=True)
class Overlap:
    """How much the texts of one split stand again in another."""

    counts: dict[str, dict[str, int]]
    """`a/b` -> kind of `KINDS` -> rows of b that overlap a in that way; `rows` is how many b has."""
    examples: dict[str, dict[str, list[dict[str, str]]]]
    """`a/b` -> kind -> a few texts of b, each with one of a."""


def overlap_metrics(counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Counts as metrics: `data/overlap_A_B_KIND` is the percentage of B's texts that overlap A."""
    return {
        f"data/overlap_{pair.replace('/', '_')}_{kind}": 100 * found[kind] / max(1, found["rows"])
        for pair, found in counts.items()
        for kind in KINDS
    }


def warn_of_overlap(metrics: Mapping[str, float]) -> str | None:
    """What must be said beside test scores, given what `overlap_metrics` made; None where there is little overlap."""
    leaking, repeated = (metrics.get(f"data/overlap_train_test_{kind}", 0.0) for kind in ("leaking", "normalised"))
    if leaking < LEAKING_PERCENT and repeated < REPEATED_PERCENT:
        return None
    return (
        f"Test overlaps train: {leaking:.1f} % of the test texts repeat a training text ({repeated:.1f} %), or "
        f"stand inside one or contain one with {LONG_TOKENS} or more tokens in common. Scores on unseen text would be lower; "
        "--split grouped keeps such texts on one side."
    )


def measure_overlap(splits: Mapping[str, Sequence[str]]) -> Overlap:
    """Rows that stand again in an earlier split, for every pair of splits."""
    names = list(splits)
    texts = [text for name in names for text in splits[name]]
    bounds = np.cumsum([0, *(len(splits[name]) for name in names)])
    rows = {name: slice(bounds[index], bounds[index + 1]) for index, name in enumerate(names)}
    text_of, distinct = number_distinct(texts)
    line_of_text, lines = number_distinct(map(fold_line, distinct))
    key_of_line, keys = number_distinct(map(fold_punctuation, lines))
    line_of = line_of_text[text_of] if len(distinct) else text_of
    key_of = key_of_line[line_of] if len(lines) else line_of
    index = LineIndex(lines)

    counts: dict[str, dict[str, int]] = {}
    examples: dict[str, dict[str, list[dict[str, str]]]] = {}
    is_long = index.lengths >= LONG_TOKENS
    for a, b in combinations(names, 2):
        in_a = _mark(len(lines), line_of[rows[a]])
        mine = line_of[rows[b]]
        inside, contains = index.inside(in_a)[mine], index.containing(in_a & is_long)[mine]
        found = {
            "exact": _mark(len(distinct), text_of[rows[a]])[text_of[rows[b]]],
            "normalised": _mark(len(keys), key_of[rows[a]])[key_of[rows[b]]],
            "inside": inside,
            "inside_long": inside & is_long[mine],
            "contains": contains,
            "ngram": index.sharing(in_a)[mine],
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
                found = index.sharer(line, in_a)
            return splits[a][int(np.flatnonzero(line_of[rows[a]] == found)[0])]

        shown = dict(found, normalised=found["normalised"] & ~found["exact"])  # an example that shows more than the kind before
        examples[f"{a}/{b}"] = {
            kind: [
                {b: splits[b][row][:_EXAMPLE_CHARACTERS], a: other(kind, row)[:_EXAMPLE_CHARACTERS]}
                for row in _spread(np.flatnonzero(shown[kind]))
            ]
            for kind in ("exact", "normalised", "inside", "inside_long", "contains", "ngram")
        }
    return Overlap(counts, examples)


def _mark(size: int, chosen: Ints) -> Flags:
    marks = np.zeros(size, bool)
    marks[chosen] = True
    return marks


def _spread(rows: Ints) -> list[int]:
    """A few of `rows`, from all over them."""
    few = np.unique(np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows))).astype(np.int64))
    return [int(row) for row in rows[few]]
