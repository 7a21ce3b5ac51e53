"""Columns of label sets, each a sequence of class indices, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def holds_sets(labels: pd.Series[Any] | NDArray[Any]) -> bool:
    """Whether a column of labels holds sets of them, not one class or score a row."""
    return labels.dtype == object


def as_matrix(labels: Iterable[Sequence[int]], classes: int) -> NDArray[np.bool_]:
    """Which row has which label; shape [rows, classes]."""
    sets = list(labels)
    matrix = np.zeros((len(sets), classes), bool)
    rows = np.repeat(np.arange(len(sets)), [len(labels) for labels in sets])
    matrix[rows, _flat(sets)] = True
    return matrix


def count_labels(labels: Iterable[Sequence[int]], classes: int) -> NDArray[np.int64]:
    """How many rows have each label; shape [classes]."""
    return np.bincount(_flat(labels), minlength=classes)


def number_sets(labels: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    """A number a row, equal where the sets are; shape [rows]."""
    numbers: dict[tuple[int, ...], int] = {}
    return np.array([numbers.setdefault(tuple(map(int, row)), len(numbers)) for row in labels], np.int64)


def rename_labels(labels: Iterable[Sequence[int]], numbers: Sequence[int] | NDArray[np.int64]) -> pd.Series[Any]:
    """The sets with each index replaced by `numbers[index]`."""
    return as_column([tuple(sorted(int(numbers[label]) for label in row)) for row in labels])


def as_column(sets: Sequence[Sequence[int]]) -> pd.Series[Any]:
    """Sets as a column of a table."""
    column = np.empty(len(sets), object)
    column[:] = [tuple(map(int, row)) for row in sets]
    return pd.Series(column, dtype=object)


def _flat(labels: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(labels), np.int64)
