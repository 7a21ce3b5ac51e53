"""A part of the labelled texts, of any size: nested, so that a smaller part lies in a larger one, and stratified by label.

The order in which texts are drawn depends on labels and seed alone, not on which sizes are asked for. Every class, or label,
has one text first. Then classes take turns by the divisors of Sainte-Laguë, which give each its share at any size; label sets
are halved again and again by iterative stratification (see `label_sets.stratification`); scores are drawn from ten levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.label_sets.matrix import as_matrix, holds_sets
from pipeline.data.label_sets.stratification import stratify
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.data.prepared import Manifest

_LEVELS = 10
Places = NDArray[np.int64]


def nested_subset(labels: pd.Series[Any], classes: int, size: int, seed: Sequence[int]) -> Places:
    """Which rows are in the part of that size, ascending; shape [size].

    Args:
        labels: Index of the class, or the score, or a set of indices, of each row.
        classes: How many classes or labels there are; 0 where labels are scores.
        size: At most as many as there are rows, and at least as many as classes stand in them.
        seed: Parts with equal seeds are nested.
    """
    if holds_sets(labels):
        return np.sort(_draw_sets(as_matrix(labels, classes), size, seed))
    values = labels.to_numpy()
    drawn = np.random.default_rng(seed).permutation(len(values))
    is_score = classes == 0
    strata = _levels(values) if is_score else values
    return np.sort(drawn[_take_turns(strata[drawn], every_first=not is_score)[:size]])


def check_size(given: str, size: int, manifest: Manifest, limit: int | None) -> None:
    """Refuse a part that is more than the training texts, or too small for their classes.

    Args:
        given: How the message begins: the option with its value, as it was typed.
        limit: How many of the training texts `--max-train-samples` leaves; None leaves all.

    Raises:
        ConfigError: As said.
    """
    rows = manifest.rows["train"]
    there, present = min(rows, limit or rows), sum(count > 0 for count in manifest.rows_by_class["train"])
    if size > there:
        bounded = " that --max-train-samples leaves" if there < rows else ""
        raise ConfigError(f"{given} is more than the {there:,} training texts{bounded}. Lower it; all takes every one.")
    if size < present:
        what = "labels" if manifest.multi else "classes"
        raise ConfigError(f"{given} is too small to have a text of each of the {present} {what}. Raise it.")


def _levels(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Which tenth of all scores each is in."""
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
    return ranks * _LEVELS // max(1, len(scores))


def _take_turns(strata: NDArray[Any], every_first: bool) -> Places:
    """The order in which rows are taken: member k of a stratum of n, counted from 0, stands at (k + 1/2) / n.

    Args:
        every_first: Whether the first member of each stratum comes before all else.
    """
    _, number, counts = np.unique(strata, return_inverse=True, return_counts=True)
    by_stratum = np.argsort(number, kind="stable")
    member = np.empty(len(strata), np.int64)
    member[by_stratum] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    turns = (member + 0.5) / counts[number]
    if every_first:
        turns[member == 0] = 0.0
    return np.argsort(turns, kind="stable")


def _draw_sets(matrix: NDArray[np.bool_], size: int, seed: Sequence[int]) -> Places:
    """Rows of label sets, in no particular order; shape [size]."""
    drawn = np.random.default_rng(seed).permutation(len(matrix))
    chosen = _cover(matrix, drawn)[:size]
    block = np.setdiff1d(drawn, chosen)
    path = 1  # of this half among all halves of halves
    while (missing := size - len(chosen)) and missing < len(block):
        half = (len(block) + 1) // 2
        sides = stratify(matrix[block], [half, len(block) - half], [*seed, path], needs_each=False)
        if missing < half:
            block, path = block[sides == 0], 2 * path
        else:
            chosen, block, path = np.concatenate([chosen, block[sides == 0]]), block[sides == 1], 2 * path + 1
    return np.concatenate([chosen, block[:missing]])


def _cover(matrix: NDArray[np.bool_], drawn: Places) -> Places:
    """A row of each label, the rarest label first."""
    chosen: list[int] = []
    for label in np.argsort(matrix.sum(axis=0), kind="stable"):
        having = drawn[matrix[drawn, label]]
        if len(having) and not matrix[chosen, label].any():
            chosen.append(int(having[0]))
    return np.array(chosen, np.int64)
