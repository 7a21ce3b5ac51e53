"""Tests of paired predictions, and decisions over many of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = int | NDArray[np.int64]


def exact_mcnemar(first_only: Counts, second_only: Counts) -> NDArray[np.float64]:
    """Two-sided p that one model is right as often as the other where just one of them is (McNemar 1947, exact).

    Of label sets, where a model may be less wrong than another, this is the sign test.

    Args:
        first_only: Texts on which the first model alone is right, or the less wrong; a number, or an array of them.
        second_only: Texts on which the second alone is; of the same shape.
    """
    from scipy.special import betainc  # the cumulative binomial distribution; scipy.stats takes a third of a second to import

    fewer, more = np.minimum(first_only, second_only), np.maximum(first_only, second_only)
    p_values: NDArray[np.float64] = np.minimum(1.0, 2 * betainc(more, fewer + 1, 0.5))
    return p_values


def count_wins(wrong: NDArray[np.integer]) -> NDArray[np.int64]:
    """On how many texts the first of two models is less wrong than the second; shape [models, models].

    Args:
        wrong: How wrong each model is on each text: 0 or 1, or its number of wrong labels; shape [models, texts].
    """
    wins: NDArray[np.int64] = np.stack([(mine < wrong).sum(axis=1) for mine in wrong]).astype(np.int64)
    return wins


def combine_dependent(p_values: Sequence[float] | NDArray[np.float64]) -> float:
    """One p-value for several tests of the same texts, valid however they depend on each other (Rüger 1978).

    More than half of the tests must be at or below it, and it is raised by the inverse of their share: three of five tests at
    3 % or below give 5 %. Of one test it is the test's own.
    """
    needed = len(p_values) // 2 + 1
    return min(1.0, float(np.sort(p_values)[needed - 1]) * len(p_values) / needed)


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values adjusted for being many, so that the chance of any false alarm stays at the level (Holm 1979)."""
    values = np.asarray(p_values, float)
    order = np.argsort(values, kind="stable")
    adjusted = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    unsorted = np.empty(len(values))
    unsorted[order] = np.minimum(1.0, adjusted)
    return unsorted


def letter_groups(members: int, differ: Sequence[tuple[int, int]]) -> list[str]:
    """Letters such that two members share one just where they do not differ (insert and absorb; Piepho 2004).

    Args:
        members: How many there are, numbered from the best; `a` is the first group that holds the best.
        differ: Pairs that are different.
    """
    groups = [frozenset(range(members))] if members else []
    for first, second in differ:
        split = [part for group in groups for part in _without_both(group, first, second)]
        distinct = list(dict.fromkeys(split))
        groups = [group for group in distinct if not any(group < other for other in distinct)]
    groups.sort(key=sorted)
    letters = [""] * members
    for number, group in enumerate(groups):
        for member in group:
            letters[member] += _letter(number)
    return letters


def _without_both(group: frozenset[int], first: int, second: int) -> list[frozenset[int]]:
    return [group - {first}, group - {second}] if {first, second} <= group else [group]


def _letter(number: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return letters[number] if number < len(letters) else f"({number + 1})"
