"""Substring containment among many lines of tokens, by a suffix array.

Everything is read off one suffix array over the tokens: the suffixes that begin with a given line are neighbours in it, so
who contains whom is a matter of intervals and prefix sums. A million lines that all contain each other cost no more than a
million that do not. Line u stands *inside* line w if u's tokens follow one another somewhere in w and w has more of them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.data.overlap.normalization import Ints

Flags = NDArray[np.bool_]

_SORTED_AT_ONCE = 2**20  # positions; what sorting takes beside the array is by this, or by the most frequent token


class LineIndex:
    """Which of the distinct lines contain which, by a suffix array.

    The suffix array is built by prefix doubling (Manber and Myers 1993) on the tokens, and of it only what is not yet told
    apart is sorted again. Each doubling's ranks are kept: with them two windows of any length are compared in constant time.
    Positions are 32-bit numbers: lines of up to 2^31 tokens altogether.
    """

    def __init__(self, tokens: Ints, lengths: Ints) -> None:
        """Index lines, which must be distinct.

        Args:
            tokens: Numbers, those of one line after those of another; shape [tokens].
            lengths: Tokens per line; shape [lines].
        """
        self.lengths = lengths.astype(np.int32)
        """Tokens per line; shape [lines]."""
        ends = np.cumsum(lengths, dtype=np.int64).astype(np.int32)
        self.starts = ends - self.lengths
        """Position of each line's first token; shape [lines]."""
        self.line_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        """The line in which each token stands; shape [tokens]."""
        self._remaining = ends[self.line_of]
        self._remaining -= np.arange(len(tokens), dtype=np.int32)
        self._ranks = self._sort(tokens)
        self.order: Ints = np.argsort(self._ranks[-1], kind="stable").astype(np.int32)
        """The suffix array: positions of tokens, sorted by what follows up to the end of their line; shape [tokens]."""
        self._line_at = self.line_of[self.order]

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
        places = np.empty(len(self.order), np.int32)
        places[self.order] = np.arange(len(self.order), dtype=np.int32)
        own = np.full(len(self.lengths), -1, np.int32)
        own[self.lengths > 0] = places[self.starts[self.lengths > 0]]
        return own

    def inside(self, containers: Flags) -> Flags:
        """Of each line, whether it stands inside a longer one of `containers`; shape [lines] both."""
        first, after = self.intervals
        seen = np.zeros(len(self.order) + 1, np.int32)
        np.cumsum(containers[self._line_at], out=seen[1:])
        own = containers & (self.lengths > 0)  # lines are distinct: only itself is no longer one
        return np.asarray(seen[after] - seen[first] - own > 0)

    def containing(self, contents: Flags) -> Flags:
        """Of each line, whether a shorter one of `contents` stands inside it; shape [lines] both."""
        begun = self._begun_at(contents)
        flags = np.zeros(len(self.lengths), bool)
        flags[self._line_at[begun > 0]] = True
        return flags

    def _begun_at(self, contents: Flags) -> Ints:
        """How many lines of `contents` begin at each place of `order` inside another line."""
        first, after = self.intervals
        chosen = np.flatnonzero(contents & (self.lengths > 0))
        begun = np.zeros(len(self.order) + 1, np.int32)
        np.add.at(begun, first[chosen], 1)
        np.add.at(begun, after[chosen], -1)
        np.cumsum(begun, out=begun)
        begun[self.own_places[chosen]] -= 1
        return begun[:-1]

    def sharing(self, others: Flags, tokens: int) -> Flags:
        """Of each line, whether a run of so many tokens, a power of two, stands in one of `others` too."""
        windows = self._windows(tokens)
        full = np.flatnonzero(self._remaining >= tokens)
        present = np.zeros(len(self.order), bool)
        present[windows[full[others[self.line_of[full]]]]] = True
        flags = np.zeros(len(self.lengths), bool)
        flags[self.line_of[full[present[windows[full]]]]] = True
        return flags

    def container(self, line: int, among: Flags) -> int:
        """A longer line of `among` inside which `line` stands."""
        first, after = self.intervals
        holders = self._line_at[first[line] : after[line]]
        return int(holders[among[holders] & (holders != line)][0])

    def content(self, line: int, among: Flags) -> int:
        """A shorter line of `among` that stands inside `line`."""
        first, after = self.intervals
        begun = self._begun_at(among)
        place = np.flatnonzero((begun > 0) & (self._line_at == line))[0]
        fits = among & (first <= place) & (place < after)
        fits[line] = False
        return int(np.flatnonzero(fits)[0])

    def sharer(self, line: int, among: Flags, tokens: int) -> int:
        """A line of `among` that shares a run of so many tokens with `line`."""
        windows = self._windows(tokens)
        positions = np.flatnonzero(among[self.line_of] & (self._remaining >= tokens))
        mine = np.arange(self.starts[line], self.starts[line] + self.lengths[line] - tokens + 1)
        return int(self.line_of[positions[np.isin(windows[positions], windows[mine])][0]])

    def _windows(self, tokens: int) -> Ints:
        """A number per position that is equal where the next `tokens` tokens are."""
        return self._ranks[min(tokens.bit_length() - 1, len(self._ranks) - 1)]

    def _sort(self, tokens: Ints) -> list[NDArray[np.int32]]:
        """Ranks of the windows of 1, 2, 4, ... tokens: how many positions have a smaller one.

        Windows end with their line. The list ends where every two suffixes are told apart or the same to their end.
        """
        sizes = np.bincount(tokens, minlength=1)
        before = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        ranks = [before[tokens]]
        # What is not told apart yet, sorted by rank, so that windows of one rank are neighbours.
        active = np.argsort(ranks[0], kind="stable").astype(np.int32)
        active = active[(sizes > 1)[tokens[active]]]
        width = 1
        while len(active):
            rank, left = ranks[-1].copy(), []
            for part in _whole_groups(ranks[-1][active]):
                members, refined, alone = self._refine(ranks[-1], active[part], width)
                rank[members] = refined
                # Of windows that end before they are `2 * width` long the whole suffix is known, so their order is final.
                left.append(members[~alone & (self._remaining[members] >= 2 * width)])
            ranks.append(rank)
            active = np.concatenate(left)
            width *= 2
        return ranks

    def _refine(self, rank: NDArray[np.int32], active: Ints, width: int) -> tuple[Ints, Ints, Flags]:
        """Sort windows of `width` tokens, given by rank, by what the next `width` tokens are.

        Returns:
            The positions sorted, their ranks, and whether no other window is the same.
        """
        follows = self._remaining[active] > width
        key = rank[active].astype(np.int64) * (len(rank) + 1)
        key[follows] += rank[active[follows] + width] + 1
        by_key = np.argsort(key)  # ties need no order: they keep one rank
        key, active = key[by_key], active[by_key]
        old = rank[active]
        place = np.arange(len(key))
        new_starts = np.concatenate([[True], key[1:] != key[:-1]])
        old_starts = np.concatenate([[True], old[1:] != old[:-1]])
        within = np.maximum.accumulate(np.where(new_starts, place, 0)) - np.maximum.accumulate(np.where(old_starts, place, 0))
        bounds = np.diff(np.append(np.flatnonzero(new_starts), len(key)))
        return active, old + within, np.repeat(bounds == 1, bounds)


def _whole_groups(rank: Ints) -> list[slice]:
    """Slices of sorted ranks, cut between two ranks, of about `_SORTED_AT_ONCE` or of one rank each."""
    starts = np.flatnonzero(np.diff(rank, prepend=-1))
    wanted = np.arange(0, len(rank), _SORTED_AT_ONCE)
    cuts = np.unique(starts[np.searchsorted(starts, wanted, side="right") - 1])
    return [slice(start, stop) for start, stop in zip(cuts, np.append(cuts[1:], len(rank)), strict=True)]
