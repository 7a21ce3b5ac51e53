import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.overlap.texts import KINDS, measure_overlap, overlap_metrics, warn_of_overlap
from pipeline.data.plots import draw_overlap

WORDS = st.sampled_from(["a", "A", "b", "c", "a.", "b,a", "a'b", ",", "!", "ab"])
# Few words and many of them, so that texts repeat and contain each other in every way.
TEXTS = st.lists(WORDS, max_size=20).map(" ".join) | st.lists(st.sampled_from("ab"), max_size=40).map(" ".join)
PARTS = st.lists(TEXTS, max_size=8)
SPLITS = st.tuples(PARTS, PARTS, PARTS).map(lambda parts: dict(zip(("train", "validation", "test"), parts, strict=True)))


def count_by_hand(a: list[str], b: list[str]) -> dict[str, int]:
    """The definitions of docs/explanation/splits.md, word for word, on every pair of texts."""

    def tokens(text: str) -> list[str]:
        folded = re.sub("[.,!]", " ", text.casefold().replace("'", "")).split()
        return folded or text.split()

    def letters(text: str) -> str:
        return "".join(tokens(text))

    def within(small: list[str], large: list[str]) -> bool:
        return 0 < len(small) < len(large) and f" {' '.join(small)} " in f" {' '.join(large)} "

    def runs(text: list[str]) -> set[tuple[str, ...]]:
        return {tuple(text[start : start + 8]) for start in range(len(text) - 7)}

    counts = dict.fromkeys(["rows", *KINDS], 0)
    for text in b:
        mine = tokens(text)
        found = {
            "rows": True,
            "exact": text in a,
            "normalised": any(letters(text) == letters(other) for other in a),
            "inside": any(within(mine, tokens(other)) for other in a),
            "contains": any(within(tokens(other), mine) and len(tokens(other)) >= 4 for other in a),
            "ngram": any(runs(mine) & runs(tokens(other)) for other in a),
        }
        found["inside_long"] = found["inside"] and len(mine) >= 4
        found["either"] = found["inside"] or found["contains"]
        found["leaking"] = found["normalised"] or found["inside_long"] or found["contains"]
        for kind, value in found.items():
            counts[kind] += value
    return counts


@given(SPLITS)
def test_the_counts_are_those_of_a_count_by_hand(splits: dict[str, list[str]]) -> None:
    counts = measure_overlap(splits).counts
    assert list(counts) == ["train/validation", "train/test", "validation/test"]
    for pair, found in counts.items():
        a, b = pair.split("/")
        assert found == count_by_hand(splits[a], splits[b]), pair


@given(SPLITS)
def test_every_example_shows_its_kind(splits: dict[str, list[str]]) -> None:
    overlap = measure_overlap(splits)
    for pair, kinds in overlap.examples.items():
        a, b = pair.split("/")
        for kind, examples in kinds.items():
            assert len(examples) <= 5
            assert bool(examples) == bool(overlap.counts[pair][kind]) or kind == "normalised"
            for example in examples:
                assert example[a] in splits[a]
                assert example[b] in splits[b]
                assert count_by_hand([example[a]], [example[b]])[kind] == 1, kind


def test_each_kind_of_overlap_by_example() -> None:
    train = ["A good film, all in all !", "one two three four", "Wow", "x1 x2 x3 x4 x5 x6 x7 x8 end"]
    test = ["Wow", "a GOOD film all in all", "Two  Three", "zero one two three four", "y x1 x2 x3 x4 x5 x6 x7 x8 z", "new"]
    found = measure_overlap({"train": train, "test": test})
    assert found.counts["train/test"] == {
        "rows": 6,
        "exact": 1,
        "normalised": 2,
        "inside": 1,
        "inside_long": 0,
        "contains": 1,
        "ngram": 1,
        "either": 2,
        "leaking": 3,
    }
    assert found.examples["train/test"]["normalised"] == [{"test": test[1], "train": train[0]}]
    assert found.examples["train/test"]["contains"] == [{"test": test[3], "train": train[1]}]


@pytest.mark.parametrize(
    "splits",
    [
        {"train": [], "validation": [], "test": []},
        {"train": ["a"], "validation": [], "test": ["a"]},
        {"train": ["..."], "validation": ["?"], "test": ["\u200b", "'", ""]},
    ],
    ids=["nothing", "one", "nothing but punctuation"],
)
def test_degenerate_splits_are_measured_and_drawn(splits: dict[str, list[str]]) -> None:
    overlap = measure_overlap(splits)
    assert overlap.counts["train/test"]["exact"] == len(set(splits["train"]) & set(splits["test"]))
    draw_overlap(overlap.counts, "title")


def test_texts_that_all_repeat_or_contain_each_other_are_measured_without_comparing_pairs() -> None:
    same = measure_overlap({"train": ["a b c d"] * 300_000, "test": ["a b c d"] * 100_000}).counts["train/test"]
    assert (same["exact"], same["inside"]) == (100_000, 0)
    nested = ["a " * length for length in range(1, 700)]
    found = measure_overlap({"train": nested[::2], "test": nested[1::2]}).counts["train/test"]
    assert (found["inside"], found["contains"]) == (349, 347)
    long = np.random.default_rng(0).integers(0, 50, 200_000).astype(str).tolist()
    found = measure_overlap({"train": [" ".join(long)], "test": [" ".join(long[1000:150_000])]}).counts["train/test"]
    assert (found["inside_long"], found["ngram"], found["normalised"]) == (1, 1, 0)


def test_metrics_are_percentages_and_the_warning_has_two_thresholds() -> None:
    def warning(**found: int) -> str | None:
        return warn_of_overlap(overlap_metrics({"train/test": {"rows": 200, **dict.fromkeys(KINDS, 0), **found}}))

    assert overlap_metrics({"a/b": {"rows": 8, **dict.fromkeys(KINDS, 2)}}) == {
        f"data/overlap_a_b_{kind}": 25.0 for kind in KINDS
    }
    assert warn_of_overlap({}) is None, "a run of another version, or a model trained elsewhere"
    assert warning(inside=200, either=200, ngram=200) is None
    assert warning(leaking=9, normalised=1) is None
    assert "10.0 % of the test texts repeat a training text (0.0 %)" in (warning(leaking=20) or "")
    assert "1.0 % of the test texts repeat a training text (1.0 %)" in (warning(leaking=2, normalised=2) or "")


def test_the_picture_has_a_bar_for_every_pair_and_kind() -> None:
    overlap = measure_overlap({"train": ["a b c d e"], "validation": ["a b c d"], "test": ["b c d e"]})
    [axes] = draw_overlap(overlap.counts, "title").axes
    widths = [bar.get_width() for bar in axes.patches]
    assert len(widths) == 3 * len(KINDS)
    assert set(widths) == {0.0, 100.0}
