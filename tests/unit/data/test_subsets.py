"""Parts of the labelled texts: nested, stratified, the same for equal seeds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.label_sets.matrix import as_column, as_matrix
from pipeline.data.subsets import nested_subset

SIZES = (7, 16, 33, 128, 400)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=6), st.integers(0, 2**32 - 1), st.data())
def test_a_smaller_part_lies_in_a_larger_one_and_has_every_class(counts: list[int], seed: int, data: st.DataObject) -> None:
    labels = pd.Series(np.repeat(np.arange(len(counts)), counts)).sample(frac=1, random_state=seed % 1000, ignore_index=True)
    small, large = sorted(data.draw(st.tuples(*[st.integers(len(counts), len(labels))] * 2)))
    parts = [nested_subset(labels, len(counts), size, [42, seed]) for size in (small, large)]
    assert [len(np.unique(part)) for part in parts] == [small, large]
    assert set(parts[0]) <= set(parts[1])
    assert (np.diff(parts[1]) > 0).all(), "ascending"
    for part, size in zip(parts, (small, large), strict=True):
        taken = np.bincount(labels[part], minlength=len(counts))
        assert (taken >= 1).all()
        shares = np.array(counts) / len(labels)
        rounded = np.where(taken == 1, 1, 0.5)  # at most so far off where the turn ended; one text may be there by right
        assert (np.abs(taken - size * shares) <= rounded + shares * rounded.sum() + 1e-9).all()


def test_two_classes_have_their_shares_at_any_size() -> None:
    labels = pd.Series(np.random.default_rng(0).permutation(np.repeat([0, 1], [700, 300])))
    for size in range(2, 1001, 37):
        assert abs(labels[nested_subset(labels, 2, size, [42, 7])].sum() - 0.3 * size) <= 1
    assert nested_subset(labels, 2, 1000, [42, 7]).tolist() == list(range(1000))


def test_seeds_draw_other_texts() -> None:
    labels = pd.Series(np.arange(1000) % 2)
    first, again, other, split = (set(nested_subset(labels, 2, 100, seed)) for seed in ([42, 1], [42, 1], [42, 2], [7, 1]))
    assert first == again
    assert len(first & other) < 30
    assert len(first & split) < 30


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_sets_have_their_shares(seed: int) -> None:
    shares = np.array([0.4, 0.2, 0.1, 0.05, 0.004])
    matrix = np.random.default_rng(seed).random((1000, 5)) < shares
    matrix[0] = True
    labels = as_column([tuple(np.flatnonzero(row)) for row in matrix])
    before: set[int] = set()
    for size in SIZES:
        part = nested_subset(labels, 5, size, [42, seed])
        assert len(set(part)) == size
        assert before <= set(part)
        before = set(part)
        taken = as_matrix(labels[part], 5).sum(axis=0)
        assert (taken >= 1).all(), "every label has a text"
        assert (np.abs(taken - size * matrix.mean(axis=0)) <= 6).all()


def test_scores_are_drawn_from_every_level() -> None:
    scores = pd.Series(np.random.default_rng(0).exponential(size=500))
    part = nested_subset(scores, 0, 20, [42, 1])
    assert set(part) <= set(nested_subset(scores, 0, 40, [42, 1]))
    levels = np.searchsorted(np.quantile(scores, np.arange(0.1, 1, 0.1)), scores[part])
    assert np.bincount(levels, minlength=10).tolist() == [2] * 10
