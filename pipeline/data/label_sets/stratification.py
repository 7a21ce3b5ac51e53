"""Which rows, or whole groups of them, go to which part, so that every label is spread as the rows are.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the label with the fewest rows left is dealt out first, each
row to the part that still lacks most rows of that label. The package iterative-stratification (0.1.9) cuts rows alone, and may
leave a rare label out of a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]


def stratify(
    matrix: NDArray[np.bool_],
    amounts: Sequence[int],
    seed: int | Sequence[int],
    groups: Ints | None = None,
    needs_each: bool = True,
) -> NDArray[np.int8]:
    """The part of each row, numbered from 0; of single rows the parts have just the amounts that are asked for.

    Where every part needs each label, it gets a row of each first, the rarest label first. Groups are dealt out from the
    largest down.

    Args:
        matrix: Which row has which label; shape [rows, labels].
        amounts: Rows wanted for each part; they sum to `rows`.
        groups: A number a row; rows with the same one stay together.
        needs_each: Whether every part must have each label.

    Returns:
        Shape [rows]; -1 for every row if every part must have each label, and there is one of which not every part can.
    """
    owner = np.arange(len(matrix)) if groups is None else np.unique(groups, return_inverse=True)[1]
    parts = _Parts(owner, matrix, amounts, np.random.default_rng(seed))
    if needs_each and not parts.give_each_label():
        return np.full(len(matrix), -1, np.int8)
    parts.deal_out()
    return np.array(parts.part, np.int8)[owner]


class _Parts:
    """Parts that are being filled, a unit (a row, or a group) at a time."""

    def __init__(self, owner: Ints, matrix: NDArray[np.bool_], amounts: Sequence[int], generator: np.random.Generator) -> None:
        rows, labels = np.nonzero(matrix)
        cells, counts = np.unique(owner[rows] * matrix.shape[1] + labels, return_counts=True)
        self._sizes = np.bincount(owner).tolist()
        units = len(self._sizes)
        self._held: list[list[tuple[int, int]]] = [[] for _ in range(units)]
        holders: list[list[int]] = [[] for _ in range(matrix.shape[1])]
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            unit, label = divmod(cell, matrix.shape[1])
            self._held[unit].append((label, count))
            holders[label].append(unit)
        drawn = generator.permutation(units)
        rank = np.empty(units, np.int64)  # from the largest down, in an order that is drawn
        rank[drawn[np.argsort(-np.array(self._sizes)[drawn], kind="stable")]] = np.arange(units)
        self._rank = rank.tolist()
        self._holders = [sorted(members, key=self._rank.__getitem__) for members in holders]
        total = matrix.sum(axis=0)
        self._left = total.tolist()
        self._wanted = (np.outer(total, amounts) / len(matrix)).tolist()
        self._room = list(amounts)
        self._order = np.argsort(amounts, kind="stable").tolist()
        self._draw = generator.random
        self.part = [-1] * units

    def give_each_label(self) -> bool:
        """Give every part one unit of each label, the smaller ones first; False if there are too few."""
        given = [[False] * len(self._room) for _ in self._left]
        for label in sorted(range(len(self._left)), key=self._left.__getitem__):
            if not self._holders[label]:
                continue
            free = reversed([unit for unit in self._holders[label] if self.part[unit] < 0])
            for part in self._order:
                if given[label][part]:
                    continue
                unit = next(free, None)
                if unit is None:
                    return False
                self._put(unit, part)
                for other, _ in self._held[unit]:
                    given[other][part] = True
        return True

    def deal_out(self) -> None:
        """Put every unit that is left where its rarest label is wanted most, and those without labels where there is room."""
        waiting = {label for label, left in enumerate(self._left) if left}
        while waiting:
            label = min(waiting, key=lambda label: (self._left[label], label))
            for unit in self._holders[label]:
                if self.part[unit] < 0:
                    self._put(unit, self._most(self._wanted[label]))
            waiting.remove(label)
        for unit in sorted((unit for unit, part in enumerate(self.part) if part < 0), key=self._rank.__getitem__):
            self._put(unit, self._most(self._room))

    def _most(self, wanted: Iterable[float]) -> int:
        """The part with room that wants most; of equal ones that with more room, else one that is drawn."""
        wants = list(wanted)
        with_room = [part for part, room in enumerate(self._room) if room > 0] or range(len(self._room))
        return max(with_room, key=lambda part: (wants[part], self._room[part], self._draw()))

    def _put(self, unit: int, part: int) -> None:
        self.part[unit] = part
        self._room[part] -= self._sizes[unit]
        for label, count in self._held[unit]:
            self._wanted[label][part] -= count
            self._left[label] -= count
