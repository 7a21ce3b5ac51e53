"""Which rows belong together, and which groups go to which split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.data.overlap.normalization import Ints, fold_texts, number_values
from pipeline.data.overlap.suffix_array import Flags, LineIndex
from pipeline.data.overlap.texts import LONG_TOKENS

if TYPE_CHECKING:
    import pandas as pd


class AlikeTexts:
    """Rows grouped so that a text goes with one that contains it.

    Texts that are the same but for case, spacing and punctuation are one. One that stands in no longer text is the seed of a
    group; any other goes with one of its containers, drawn by `seed`, and so in the end with one seed. Joining a text to
    *all* its containers would make one group of everything, for "good" stands in half of all film reviews.
    """

    def __init__(self, texts: pd.Series | Sequence[str], seed: int) -> None:
        folded = fold_texts({"": texts})
        self._line_of, key_of = folded.line_of, folded.key_of_line
        self._index = LineIndex(folded.tokens, folded.lengths)
        parent = np.arange(key_of.max(initial=-1) + 1)
        holder = self._draw_holders(np.random.default_rng(seed))
        # A container has more tokens than what it contains, so every step is to a longer key: there are no circles.
        upward = np.flatnonzero(holder >= 0)
        upward = upward[np.argsort(-self._index.lengths[upward], kind="stable")]
        stepping, longest = np.unique(key_of[upward], return_index=True)
        parent[stepping] = key_of[holder[upward[longest]]]
        while not np.array_equal(parent, above := parent[parent]):
            parent = above
        self.groups: Ints = parent[key_of[self._line_of]]
        """The group of each row; shape [rows]."""

    def _draw_holders(self, generator: np.random.Generator) -> Ints:
        """A line in which each line stands, or -1; shape [lines]."""
        first, after = self._index.intervals
        others = after - first - 1  # the interval holds the line itself
        held = np.flatnonzero(others > 0)
        place = first[held] + generator.integers(0, others[held])
        place += place >= self._index.own_places[held]
        holder = np.full(len(first), -1)
        holder[held] = self._index.line_of[self._index.order[place]]
        return holder

    def straddling(self, train: Flags, held_out: Flags) -> Flags:
        """Rows of `train` that stand inside a text of `held_out`, or the reverse, with `LONG_TOKENS` tokens or more."""
        is_long = self._index.lengths >= LONG_TOKENS
        other = np.zeros(len(is_long), bool)
        other[self._line_of[held_out]] = True
        leaks = (self._index.inside(other) & is_long) | self._index.containing(other & is_long)
        return train & leaks[self._line_of]


def number_groups(values: Sequence[object], missing: Flags) -> Ints:
    """A number per row, equal where the values are but for spaces around them; a row without a value is a group by itself."""
    texts = [str(value).strip() for value in values]
    groups = number_values(texts).astype(np.int64)
    missing = missing | (np.array(texts, object) == "")
    groups[missing] = groups.max(initial=-1) + 1 + np.arange(int(missing.sum()))
    return groups


def join_groups(first: Ints, second: Ints) -> Ints:
    """Groups of rows that belong together by either of two groupings, or by a chain of both; shape [rows]."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    _, first = np.unique(first, return_inverse=True)
    _, second = np.unique(second, return_inverse=True)
    size = first.max(initial=-1) + 1
    nodes = size + second.max(initial=-1) + 1
    edges = csr_array((np.ones(len(first), np.int8), (first, size + second)), shape=(nodes, nodes))
    joined: Ints = connected_components(edges, directed=False)[1][first]
    return joined


def assign_groups(groups: Ints, labels: Ints, shares: Sequence[float], seed: int) -> NDArray[np.int8]:
    """The side of each row, whole groups only, with sides near their shares in every class.

    Every side first gets a small group of each class, the rarest class first. Then groups of several rows go, from the
    largest down, to where they raise the sum of squares (filled / wanted) least; rows that are groups by themselves level
    out what is left.

    Returns:
        Shape [rows]; -1 for every row if some class has too few groups for every side to have one.
    """
    generator = np.random.default_rng(seed)
    _, groups = np.unique(groups, return_inverse=True)
    classes, labels = np.unique(labels, return_inverse=True)
    sizes = np.bincount(groups)
    shuffled = generator.permutation(len(sizes))
    pairs, amounts = np.unique(groups * len(classes) + labels, return_counts=True)
    pair_group, pair_class = pairs // len(classes), pairs % len(classes)
    wanted = np.outer(shares, np.bincount(labels))
    filled = np.zeros_like(wanted)
    side = np.full(len(sizes), -1, np.int8)
    begins = np.searchsorted(pair_group, np.arange(len(sizes) + 1))

    def put(group: int, where: int) -> None:
        side[group] = where
        members = slice(begins[group], begins[group + 1])
        filled[where, pair_class[members]] += amounts[members]

    by_class = np.lexsort((shuffled[pair_group], sizes[pair_group], pair_class))
    ends = np.searchsorted(pair_class[by_class], np.arange(len(classes) + 1))
    for number in np.argsort(np.bincount(labels), kind="stable"):
        candidates = iter(pair_group[by_class[ends[number] : ends[number + 1]]])
        for where in np.argsort(shares, kind="stable"):
            if filled[where, number] == 0:
                group = next((group for group in candidates if side[group] < 0), None)
                if group is None:
                    return np.full(len(groups), -1, np.int8)
                put(group, where)

    several = np.flatnonzero((side < 0) & (sizes > 1))
    for group in several[np.lexsort((shuffled[several], -sizes[several]))]:
        members = slice(begins[group], begins[group + 1])
        number, amount = pair_class[members], amounts[members]
        put(group, int((((2 * filled[:, number] + amount) * amount) / wanted[:, number]).sum(axis=1).argmin()))

    single = shuffled[(side[shuffled] < 0)]
    class_of = pair_class[begins[single]]
    for number in range(len(classes)):
        members = single[class_of == number]
        side[members] = np.repeat(np.arange(len(shares)), _share_out(len(members), wanted[:, number] - filled[:, number]))
    return side[groups]


def _share_out(amount: int, wanted: NDArray[np.float64]) -> Ints:
    """`amount` in whole numbers, in proportion to what is wanted."""
    wanted = np.maximum(wanted, 0)
    exact = amount * wanted / wanted.sum() if wanted.sum() > 0 else np.eye(len(wanted))[0] * amount
    whole: Ints = np.floor(exact).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: amount - whole.sum()]] += 1
    return whole
