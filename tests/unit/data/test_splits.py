import hashlib
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.splits import SPLITS, choose_sample, split_by_groups, split_officially, split_randomly
from pipeline.errors import DataError

NAMES = tuple("abcdefgh")
COUNTS = st.lists(st.integers(3, 60), min_size=2, max_size=5).filter(lambda counts: sum(counts) >= 5 * len(counts) + 5)


def make(*counts: int, seed: int = 0, prefix: str = "") -> pd.DataFrame:
    """A shuffled table with so many rows of each class, every text another."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return pd.DataFrame({"text": [f"{prefix}{row}" for row in range(len(labels))], "label": labels})


PARTS = st.tuples(*3 * [st.integers(1, 20)])


def share_out(parts: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(part / sum(parts) for part in parts)


def halve(table: pd.DataFrame, seed: int = 42) -> dict[str, pd.DataFrame]:
    return dict(split_randomly({"all": table}, NAMES, seed, "--dataset x"))


@given(COUNTS, st.integers(0, 2**32 - 1))
def test_a_random_split_is_a_stratified_partition(counts: list[int], seed: int) -> None:
    table = make(*counts)
    splits = halve(table, seed)
    assert tuple(splits) == SPLITS
    together = pd.concat(splits.values()).sort_values("text")
    pd.testing.assert_frame_equal(together.reset_index(drop=True), table.sort_values("text").reset_index(drop=True))
    held_out = max(round(len(table) / 10), len(counts))
    for name in ("validation", "test"):
        assert len(splits[name]) == held_out
        present = splits[name]["label"].value_counts().reindex(range(len(counts)), fill_value=0)
        assert (present >= 1).all()
        assert (present - held_out * np.array(counts) / len(table)).abs().max() < len(counts)
    assert set(splits["train"]["label"]) == set(range(len(counts)))


@given(COUNTS, st.integers(0, 2**32 - 1))
def test_a_random_split_is_a_function_of_rows_and_seed(counts: list[int], seed: int) -> None:
    table = make(*counts)
    first, second = halve(table, seed), halve(table, seed)
    for name in SPLITS:
        pd.testing.assert_frame_equal(first[name], second[name])


@given(st.lists(st.integers(1, 60), min_size=2, max_size=5), PARTS, st.integers(0, 2**32 - 1))
def test_a_split_by_any_ratios_is_a_partition_of_those_sizes_or_refused(
    counts: list[int], parts: tuple[int, ...], seed: int
) -> None:
    table, ratios = make(*counts), share_out(parts)
    try:
        splits = split_randomly({"all": table}, NAMES, seed, "--dataset x", ratios)
    except DataError:
        few = min(counts) * min(ratios) < 2 or sum(counts) * min(ratios) < 2 * len(counts)
        assert few, "only rare classes and small tables are refused"
        return
    together = pd.concat(splits.values()).sort_values("text").reset_index(drop=True)
    pd.testing.assert_frame_equal(together, table.sort_values("text").reset_index(drop=True))
    for name, share in zip(SPLITS[1:], ratios[1:], strict=True):
        exact = len(table) * Fraction(str(share))  # in floating point 85 * 0.7 is below 59.5
        assert len(splits[name]) == max(round(exact), len(counts))
    assert all(set(split["label"]) == set(range(len(counts))) for split in splits.values())


def test_a_seventh_part_and_two_tenths() -> None:
    splits = split_randomly({"all": make(600, 400)}, NAMES, 42, "x", (0.7, 0.1, 0.2))
    assert {name: split["label"].value_counts().to_dict() for name, split in splits.items()} == {
        "train": {0: 420, 1: 280},
        "validation": {0: 60, 1: 40},
        "test": {0: 120, 1: 80},
    }


@given(st.integers(10, 5000))
def test_a_tenth_of_the_rows_is_what_it_always_was(rows: int) -> None:
    splits = halve(make(rows - rows // 2, rows // 2))
    assert len(splits["test"]) == len(splits["validation"]) == max(round(rows / 10), 2)


def test_groups_come_near_the_ratios() -> None:
    table = make(500, 500).assign(group=[f"author {row % 97}" for row in range(1000)])
    splits, _ = split_by_groups({"all": table}, NAMES, 42, "x", (0.6, 0.1, 0.3))
    assert [len(split) for split in splits.values()] == pytest.approx([600, 100, 300], abs=25)


def test_ratios_do_not_go_with_official_parts() -> None:
    parts = {"train": make(50, 50), "test": make(9, 9)}
    with pytest.raises(DataError, match=r"--split-ratios 0.7,0.1,0.2: --split official keeps the parts of --dataset x"):
        split_officially(parts, NAMES, 42, "--dataset x", (0.7, 0.1, 0.2))


def test_shares_are_8_1_1_in_every_class_and_rows_keep_their_order() -> None:
    splits = halve(make(600, 400))
    assert {name: splits[name]["label"].value_counts().to_dict() for name in SPLITS} == {
        "train": {0: 480, 1: 320},
        "validation": {0: 60, 1: 40},
        "test": {0: 60, 1: 40},
    }
    for split in splits.values():
        assert split["text"].astype(int).is_monotonic_increasing
    assert not halve(make(600, 400), seed=43)["test"].equals(splits["test"])


def test_a_random_split_is_the_one_it_always_was() -> None:
    """Fingerprints of recorded runs depend on it."""
    texts = {name: " ".join(split["text"]) for name, split in halve(make(600, 400)).items()}
    assert hashlib.sha256(texts["test"].encode()).hexdigest()[:16] == "5d89b2f478e06fa2"
    assert hashlib.sha256(texts["validation"].encode()).hexdigest()[:16] == "fee3251bdcfdb4c0"


def test_a_rare_class_stands_in_every_split() -> None:
    for split in halve(make(3, 497)).values():
        assert 0 in set(split["label"])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((30, 2), "class 'b' has 2 example(s); train, validation and test need one each. Add examples, or drop the class."),
        ((4, 4), "8 rows are too few to cut 8:1:1 with 2 classes. Add examples."),
        ((3, 3), "6 rows are too few"),
    ],
)
def test_too_few_rows_are_refused(counts: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        halve(make(*counts))


@given(st.lists(st.integers(1, 12), min_size=2, max_size=8))
def test_small_tables_are_split_with_every_class_or_refused(counts: list[int]) -> None:
    try:
        splits = halve(make(*counts))
    except DataError:
        assert min(counts) < 3 or sum(counts) < max(10, 3 * len(counts))
    else:
        assert all(set(split["label"]) == set(range(len(counts))) for split in splits.values())


def test_of_a_source_in_parts_only_train_is_cut() -> None:
    parts = {"train": make(50, 50, prefix="train "), "test": make(9, 9, prefix="test ")}
    splits = split_randomly(parts, NAMES, 42, "--dataset x")
    assert sum(map(len, splits.values())) == 100
    assert all(split["text"].str.startswith("train ").all() for split in splits.values())
    with pytest.raises(DataError, match=r"has no train part, only test."):
        split_randomly({"test": parts["test"]}, NAMES, 42, "--dataset x")


@pytest.mark.parametrize(
    ("given", "origins", "rows"),
    [
        (("train", "validation", "test"), ("train", "validation", "test"), (100, 20, 20)),
        (("train", "validation"), ("train", "train", "validation"), (90, 10, 20)),
        (("train", "test"), ("train", "train", "test"), (90, 10, 20)),
    ],
)
def test_official_parts_are_kept_and_nothing_is_selected_on_test_data(
    given: tuple[str, ...], origins: tuple[str, ...], rows: tuple[int, ...]
) -> None:
    size = {"train": 50, "validation": 10, "test": 10}
    parts = {part: make(size[part], size[part], prefix=f"{part} ") for part in given}
    splits = split_officially(parts, NAMES, 42, "--dataset x")
    assert tuple(splits) == SPLITS
    assert tuple(map(len, splits.values())) == rows
    for split, origin in zip(splits.values(), origins, strict=True):
        assert split["text"].str.startswith(f"{origin} ").all()
    texts = [set(split["text"]) for split in splits.values()]
    assert len(set.union(*texts)) == sum(map(len, texts))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("all",), "comes as one part, so it has no split of its own. Use --split random."),
        (("train",), "comes as one part"),
        (("validation", "test"), "comes as one part"),
        (("train", "unsupervised"), "has neither a labelled validation nor test part. Use --split random."),
    ],
)
def test_a_source_without_official_parts_is_refused(parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        split_officially(dict.fromkeys(parts, make(50, 50)), NAMES, 42, "--dataset x")


@given(st.integers(0, 200), st.none() | st.integers(1, 250), st.integers(0, 2**32 - 1))
def test_a_sample_holds_distinct_rows_in_order_and_repeats(size: int, limit: int | None, seed: int) -> None:
    chosen = choose_sample(size, limit, seed)
    assert len(chosen) == (size if limit is None else min(size, limit))
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) <= set(range(size))
    assert np.array_equal(chosen, choose_sample(size, limit, seed))


def test_a_sample_depends_on_the_seed() -> None:
    assert not np.array_equal(choose_sample(1000, 10, 1), choose_sample(1000, 10, 2))
