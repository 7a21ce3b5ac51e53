import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pipeline.data.overlap.grouping import AlikeTexts, assign_groups, number_groups
from pipeline.data.overlap.normalization import fold_text
from pipeline.data.overlap.texts import measure_overlap
from pipeline.data.splits import SPLITS, split_by_groups
from pipeline.errors import DataError

NAMES = ("neg", "pos")
WORDS = st.sampled_from(["a", "b", "c", "d", "A", "b.", ",", "!"])
ROWS = st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=9).map(" ".join), st.integers(0, 1)), min_size=10, max_size=80)


def table(rows: list[tuple[str, int]], groups: list[object] | None = None) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["text", "label"])
    return made if groups is None else made.assign(group=groups)


def split(made: pd.DataFrame, seed: int = 42) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    splits, dropped = split_by_groups({"all": made}, NAMES, seed, "--dataset x")
    return dict(splits), dropped


def split_or_read_refusal(made: pd.DataFrame, seed: int, way_out: str) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The split; no splits where it is refused, which must be with the way out."""
    refusal = ""
    try:
        found = split(made, seed)
    except DataError as error:
        refusal, found = str(error), ({}, {})
    event("refused" if refusal else "split")
    assert not refusal or re.search(way_out, refusal)
    return found


def phrases(seed: int = 0, sentences: int = 300) -> pd.DataFrame:
    """Sentences and runs of tokens cut out of them, as in SST-2, with short ones in common."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(sentences):
        words = [str(word) for word in generator.integers(0, 60, 14)]
        rows.append((" ".join([*words, "."]), number % 2))
        for _ in range(int(generator.integers(0, 8))):
            start = int(generator.integers(0, 13))
            rows.append((" ".join(words[start : start + int(generator.integers(1, 9))]), number % 2))
    return table(rows)


def assert_apart(splits: dict[str, pd.DataFrame]) -> None:
    """Checked pair by pair, without the index that made the split."""
    lines = {name: [fold_text(text) for text in splits[name]["text"]] for name in SPLITS}
    keys = {line.replace(" ", "") for line in lines["train"]}
    for held_out in ("validation", "test"):
        assert not keys & {line.replace(" ", "") for line in lines[held_out]}
        for one in set(lines["train"]):
            for other in set(lines[held_out]):
                small, large = sorted((one.split(), other.split()), key=len)
                assert len(small) < 4 or f" {' '.join(small)} " not in f" {' '.join(large)} "


@given(ROWS, st.integers(0, 2**32 - 1))
def test_overlapping_texts_stand_on_one_side_or_it_is_refused(rows: list[tuple[str, int]], seed: int) -> None:
    splits, dropped = split_or_read_refusal(table(rows), seed, r"Add examples|--split (grouped|random)")
    if not splits:
        return
    assert_apart(splits)
    assert sum(map(len, splits.values())) + sum(dropped.values()) == len(rows)
    assert all(set(made["label"]) == {0, 1} for made in splits.values())


def test_phrases_follow_a_sentence_and_shares_stay_near_8_1_1() -> None:
    made = phrases()
    splits, dropped = split(made)
    assert_apart(splits)
    counts = measure_overlap({name: splits[name]["text"].tolist() for name in SPLITS}).counts
    assert counts["train/test"]["leaking"] == counts["train/validation"]["leaking"] == 0
    assert dropped["overlap of 4 or more tokens"] < 0.05 * len(made)
    for name in ("validation", "test"):
        assert len(splits[name]) == pytest.approx(len(made) / 10, rel=0.1)
        assert splits[name]["label"].mean() == pytest.approx(made["label"].mean(), abs=0.05)
    texts = [text for part in splits.values() for text in part["text"]]
    assert len(set(texts)) > 0.9 * made["text"].nunique()


def test_what_straddles_is_dropped_from_train_and_counted() -> None:
    # Each long phrase stands in two sentences, which cannot both be its group's.
    shared = [f"s{number} t u v w" for number in range(40)]
    rows = [(text, number % 2) for number, text in enumerate(shared)]
    rows += [(f"{side} {text}", number % 2) for number, text in enumerate(shared) for side in ("left", "right")]
    splits, dropped = split(table(rows))
    assert_apart(splits)
    assert dropped["overlap of 4 or more tokens"] == len(rows) - sum(map(len, splits.values())) > 0
    assert len(splits["test"]) + len(splits["validation"]) >= 0.15 * len(rows)


def test_a_grouped_split_is_a_function_of_rows_and_seed() -> None:
    made = phrases()
    (first, _), (again, _), (other, _) = split(made), split(made), split(made, seed=1)
    for name in SPLITS:
        pd.testing.assert_frame_equal(first[name], again[name])
    assert not other["test"].equals(first["test"])


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=10, max_size=80), st.integers(0, 99))
def test_rows_of_a_column_group_stay_together(rows: list[tuple[int, int]], seed: int) -> None:
    groups = [None if group == 0 else f"film {group}" for group, _ in rows]
    made = table([(f"{group}:{number}", label) for number, (group, label) in enumerate(rows)], groups)
    splits, dropped = split_or_read_refusal(made, seed, r"Add examples|Choose another --group-column, or use --split random")
    if not splits:
        return
    assert dropped == {}
    assert sum(map(len, splits.values())) == len(rows)
    where = {text: name for name, part in splits.items() for text in part["text"]}
    sides: dict[str, set[str]] = {}
    for text, side in where.items():
        sides.setdefault(text.split(":")[0], set()).add(side)
    sides.pop("0", None)  # rows without a group are groups by themselves
    assert all(len(side) == 1 for side in sides.values())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=100), st.integers(0, 99))
def test_assignment_splits_no_group_and_spares_no_class(rows: list[tuple[int, int]], seed: int) -> None:
    groups, labels = np.array(rows).T
    sides = assign_groups(groups, labels, [0.8, 0.1, 0.1], seed)
    if (sides < 0).any():
        assert (sides < 0).all()
        return
    for group in set(groups):
        assert len(set(sides[groups == group])) == 1
    for label in set(labels):
        assert set(sides[labels == label]) == {0, 1, 2}


def test_groups_of_one_row_are_cut_exactly() -> None:
    labels = np.repeat([0, 1], [600, 400])
    sides = assign_groups(np.arange(1000), labels, [0.8, 0.1, 0.1], 42)
    assert [np.bincount(labels[sides == side]).tolist() for side in range(3)] == [[480, 320], [60, 40], [60, 40]]


def test_rows_without_a_value_are_groups_by_themselves() -> None:
    groups = number_groups(["x", None, "y", None, "x"], np.array([False, True, False, True, False]))
    assert groups[0] == groups[4]
    assert len(set(groups)) == 4


def test_spaces_around_a_value_make_no_other_group_and_spaces_alone_are_no_value() -> None:
    groups = number_groups(["Anna", "Anna ", " Anna", "  ", "", " ", "Ben"], np.zeros(7, bool))
    assert len(set(groups[:3])) == 1
    assert len(set(groups)) == 5


def test_short_phrases_do_not_join_everything() -> None:
    texts = [*(f"good film{number} good" for number in range(100)), "good", "GOOD !"]
    groups = AlikeTexts(texts, 0).groups
    assert len(set(groups)) == 100
    assert groups[-1] == groups[-2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"0 rows are too few"),
        ([("a", 0)], r"class 'neg' has 1 example\(s\)"),
        ([("a", 0), ("b", 1)], r"class 'neg' has 1 example\(s\)"),
        (
            [("same", 0), ("same", 1)] * 50,
            r"class 'neg' has 1 group\(s\)\. Remove texts that repeat each other, or use --split random",
        ),
        ([(" ,", 0), (", ", 1)] * 50, r"class 'neg' has 1 group\(s\)"),
        (
            [("same", 0), ("same", 1)] * 90 + [(f"other {number}", number % 2) for number in range(8)],
            r"cannot come near 8:1:1: the largest group holds 180 of 188 rows, and validation would have 4\. Remove texts",
        ),
    ],
    ids=["none", "one", "two", "all the same", "punctuation", "giant group"],
)
def test_what_cannot_be_grouped_is_refused_with_the_way_out(rows: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(table(rows))


def test_one_giant_group_of_a_column_is_refused() -> None:
    made = table([(f"text {number}", number % 2) for number in range(100)], ["x"] * 100)
    with pytest.raises(DataError, match=r"has 1 group\(s\)\. Choose another --group-column, or use --split random"):
        split(made)
