"""Parts in which every label is as frequent as in all."""

import numpy as np
import pytest

from pipeline.data.label_sets.stratification import stratify

SHARES = np.array([0.5, 0.2, 0.1, 0.05, 0.02])


def draw(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, len(SHARES))) < SHARES


def imbalance(matrix: np.ndarray, parts: np.ndarray) -> float:
    """Mean distance of a label's share in the smaller parts from its share in all."""
    return float(np.mean([np.abs(matrix[parts == part].mean(axis=0) - matrix.mean(axis=0)).mean() for part in (1, 2)]))


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_spread_and_amounts_kept(seed: int) -> None:
    matrix, amounts = draw(1000, seed), [800, 100, 100]
    parts = stratify(matrix, amounts, seed)
    assert np.bincount(parts).tolist() == amounts
    by_chance = np.random.default_rng(seed).permutation(np.repeat(np.arange(3), amounts))
    assert imbalance(matrix, parts) < imbalance(matrix, by_chance) / 4
    assert np.array_equal(parts, stratify(matrix, amounts, seed))
    assert not np.array_equal(parts, stratify(matrix, amounts, seed + 1))


def test_a_label_of_three_rows_is_in_every_part() -> None:
    for seed in range(20):
        matrix = draw(100, seed)[:, [0, 1, 2, -1]]
        matrix[:, -1] = False
        matrix[np.random.default_rng(seed).choice(100, 3, replace=False), -1] = True
        parts = stratify(matrix, [80, 10, 10], seed)
        assert sorted(parts[matrix[:, -1]].tolist()) == [0, 1, 2]
        assert all(matrix[parts == part].any(axis=0).all() for part in range(3))


def test_groups_stay_whole_and_parts_near_their_amounts() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), generator.integers(1, 12, 300))
    matrix = draw(len(groups))
    amounts = [len(groups) - 2 * (len(groups) // 10), *[len(groups) // 10] * 2]
    parts = stratify(matrix, amounts, 0, groups)
    assert all(len(set(parts[groups == group])) == 1 for group in range(300))
    assert np.abs(np.bincount(parts) - amounts).max() < 12, "no more than the largest group"
    assert imbalance(matrix, parts) < 0.02


def test_a_label_that_not_every_part_can_have_is_told() -> None:
    matrix = draw(50)
    matrix[:, -1] = np.arange(50) < 2
    assert (stratify(matrix, [40, 5, 5], 0) == -1).all()
    matrix[:, -1] = np.arange(50) < 4
    assert (stratify(matrix, [40, 5, 5], 0, np.maximum(0, np.arange(50) - 3)) == -1).all(), "the four rows are one group"


def test_rows_without_labels_fill_what_is_left() -> None:
    matrix = np.zeros((10, 2), bool)
    matrix[:3] = True
    assert np.bincount(stratify(matrix, [6, 2, 2], 0)).tolist() == [6, 2, 2]
