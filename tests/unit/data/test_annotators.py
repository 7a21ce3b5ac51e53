"""Several annotations of one text are found, counted, settled, and kept on one side of a split."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SplitConfig
from pipeline.config.identity import settings_hash
from pipeline.data.annotations.copies import COPIES, LabelType, Rule, settle
from pipeline.data.overlap.grouping import join_groups
from pipeline.data.prepared import PreparedData, prepare
from pipeline.data.source import SourceTables
from pipeline.data.splits import SPLITS
from pipeline.errors import DataError

Write = Callable[[str, str | bytes], Path]


def tables(votes: Sequence[tuple[str, str | None]], **columns: Sequence[object]) -> SourceTables:
    texts, labels = zip(*votes, strict=True)
    return SourceTables({"all": pd.DataFrame({"text": texts, "label": labels, **columns})})


def labels_of(votes: Sequence[tuple[str, str | None]], rule: str | None, **columns: Sequence[object]) -> list[tuple[str, str]]:
    settled = settle(tables(votes, **columns), rule, "here").tables.parts["all"]
    return [tuple(row) for row in settled[["text", "label"]].to_numpy().tolist()]


VOTES = [("a", "x"), ("b", "x"), ("a", "y"), (" a", "y"), ("b", "y"), ("c", "x"), ("d", "y"), ("d", "y")]


@pytest.mark.parametrize(
    ("rule", "rows", "dropped"),
    [
        ("all", VOTES, {}),
        ("first", [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")], {"repeated annotation": 4}),
        ("majority", [("a", "y"), ("c", "x"), ("d", "y")], {"tied annotations": 2, "repeated annotation": 3}),
        ("drop", [("c", "x"), ("d", "y")], {"differing annotations": 5, "repeated annotation": 1}),
    ],
)
def test_each_rule(rule: str, rows: list[tuple[str, str]], dropped: dict[str, int]) -> None:
    assert labels_of(VOTES, rule) == rows
    settled = settle(tables(VOTES), rule, "here")
    assert settled.dropped == dropped
    assert len(settled.notes) == 1
    assert "3 texts have several annotations, 7 in all, and 2 of these texts have different labels: " in settled.notes[0]
    assert f"(--annotators {rule})" in settled.notes[0]


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("xyz")), min_size=1, max_size=40),
    st.sampled_from(["first", "majority", "drop"]),
)
def test_rules_do_what_a_loop_over_texts_does(votes: list[tuple[str, str]], rule: str) -> None:
    expected = {}
    for text in dict.fromkeys(text for text, _ in votes):
        mine = [label for other, label in votes if other == text]
        most = max(map(mine.count, mine))
        leading = [label for label in dict.fromkeys(mine) if mine.count(label) == most]
        if rule == "first":
            expected[text] = mine[0]
        elif rule == "majority" and len(leading) == 1:
            expected[text] = leading[0]
        elif rule == "drop" and len(set(mine)) == 1:
            expected[text] = mine[0]
    if not expected:
        with pytest.raises(DataError, match="leaves no text"):
            settle(tables(votes), rule, "here")
        return
    settled = settle(tables(votes), rule, "here")
    kept = settled.tables.parts["all"]
    assert dict(zip(kept["text"], kept["label"], strict=True)) == expected
    assert len(kept) == len(expected)
    assert sum(settled.dropped.values()) == len(votes) - len(kept)


def test_rejected_and_unlabelled_rows_have_no_vote_and_stay_to_be_counted() -> None:
    votes = [("a", "x"), ("a", "y"), ("a", None), ("b", "x")]
    rows = labels_of(votes, "majority", answer=["accept", "reject", "accept", "accept"])
    assert [text for text, _ in rows] == ["a", "a", "a", "b"]


def test_ids_of_annotations_say_which_was_first_and_names_do_not() -> None:
    votes = [("a", "y"), ("a", "x"), ("b", "x")]
    assert labels_of(votes, "first", annotation=["12", "9", "10"]) == [("a", "x"), ("b", "x")]
    assert labels_of(votes, "first", annotation=["by zoe", "by adam", "by adam"]) == [("a", "y"), ("b", "x")]


def test_a_table_is_one_of_annotators_where_it_says_so_or_labels_differ_often() -> None:
    agreeing = [("a", "x"), ("a", "x"), ("b", "y")]
    assert not settle(tables(agreeing), None, "here").notes
    assert "Pass" not in settle(tables(agreeing, annotation=["by a", "by b", "by a"]), None, "here").notes[0]
    differing = [("a", "x"), ("a", "y"), *((f"text {number}", "x") for number in range(98))]
    settled = settle(tables(differing), None, "here")
    assert "--annotators first, majority or drop leaves one row a text" in settled.notes[0]
    assert COPIES in settled.tables.parts["all"]
    rare = settle(tables([*differing, ("more", "x"), ("yet more", "y")]), None, "here")
    assert (rare.notes, COPIES in rare.tables.parts["all"]) == ([], False)
    assert settle(tables([*differing, ("more", "x"), ("yet more", "y")]), "all", "here").notes


def test_a_column_called_annotation_may_be_the_text(write: Write) -> None:
    rows = "".join(f"text {row},{row % 2},{('ann', 'ben')[row % 2]}\n" for row in range(40))
    manifest = split(write("a.csv", "annotation,label,annotator\n" + rows), text_column="annotation").manifest
    assert (manifest.classes, sum(manifest.rows.values())) == (["0", "1"], 40)


@pytest.mark.parametrize("rule", ["majority", "drop"])
def test_a_rule_that_leaves_nothing_is_named(rule: Rule) -> None:
    said = rf"here: --annotators {rule} leaves no text \(.* annotations: 2\)\. Take first, or all"
    with pytest.raises(DataError, match=said):
        settle(tables([("a", "1"), ("a", "2")]), rule, "here")
    assert settle(tables([("a", "1"), ("a", "2"), ("b", "1")]), rule, "here").dropped


def test_scores_have_no_majority() -> None:
    with pytest.raises(DataError, match=r"--annotators majority: scores have no majority\. Take all, first or drop"):
        settle(tables([("a", "1"), ("a", "2")]), "majority", "here", "score")


@pytest.mark.parametrize(
    ("label_type", "labels", "other"),
    [
        ("class", ("1", "1.0"), "0"),
        ("class", ("1", "1."), "-2"),
        ("multi", ('["1", "2"]', '["1.0", "2"]'), '["3"]'),
        ("score", ("0.5", "0.50"), "1"),
        ("score", ("0", "-0.0"), "1"),
    ],
)
def test_a_number_is_one_label_however_it_is_written(label_type: LabelType, labels: tuple[str, str], other: str) -> None:
    same = tables([("a", labels[0]), ("a", labels[1]), ("b", other)])
    settled = settle(same, "drop", "here", label_type)
    assert settled.dropped == {"repeated annotation": 1}
    assert settled.tables.parts["all"]["text"].tolist() == ["a", "b"]
    assert "0 of these texts have different labels" in settled.notes[0]


def test_numbers_are_told_apart_where_they_are_names() -> None:
    votes = [("a", "1"), ("a", "1.0"), ("b", "v2")]
    assert settle(tables(votes), "drop", "here").dropped == {"differing annotations": 2}
    rejected = settle(tables(votes, answer=["accept", "accept", "reject"]), "drop", "here")
    assert rejected.dropped == {"repeated annotation": 1}, "what was rejected says nothing of the others"
    listed = settle(tables([("a", "1"), ("a", "1.0"), ("b", "1")]), "drop", "here", listed=("1", "1.0"))
    assert listed.dropped == {"differing annotations": 2}


def test_a_majority_counts_a_number_however_it_is_written(write: Write) -> None:
    rows = [f"text {row},{label}\n" for row in range(40) for label in (row % 2, f"{row % 2}.0", 1 - row % 2)]
    manifest = split(write("a.csv", "text,label\n" + "".join(rows)), annotators="majority").manifest
    assert (manifest.classes, sum(manifest.rows.values())) == (["0", "1"], 40)
    assert manifest.dropped["repeated annotation"] == 80


def crowd(rows: int = 60) -> str:
    """A table of three workers a text, who differ on every fourth."""
    lines = [
        f"review {row},{('good', 'bad')[(row + (row % 4 == 0 and worker == 'w3')) % 2]},{worker},film {row % 20}\n"
        for worker in ("w1", "w2", "w3")
        for row in range(rows)
    ]
    return "text,label,worker_id,film\n" + "".join(lines)


def split(path: Path, **options: object) -> PreparedData:
    return prepare(str(path), SplitConfig(cache_dir=str(path.parent / "cache"), **options))[0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"annotators": "all"},
        {"split_ratios": (0.5, 0.25, 0.25)},
        {"split": "grouped"},
        {"split": "grouped", "group_column": "film"},
    ],
)
def test_copies_never_stand_on_both_sides_of_a_split(write: Write, options: dict[str, object]) -> None:
    data = split(write("crowd.csv", crowd()), **options)
    sides = {name: data.read(name) for name in SPLITS}
    assert sum(map(len, sides.values())) == 180
    assert all(list(table.columns) == ["text", "label"] for table in sides.values())
    for one, other in combinations(sides.values(), 2):
        assert not set(one["text"]) & set(other["text"])
    if "split_ratios" not in options:
        assert abs(len(sides["test"]) - 18) <= 9


def test_validation_that_is_cut_from_an_official_train_part_shares_no_text_with_it(write: Write) -> None:
    train = write("crowd.csv", crowd())
    test = write("test.csv", "text,label\nanother,good\nand another,bad\n")
    data = split(train, train_file=str(train), test_file=str(test), split="official")
    assert not set(data.read("train")["text"]) & set(data.read("validation")["text"])
    assert len(data.read("train")) + len(data.read("validation")) == 180


def test_majority_is_counted_in_the_record(write: Write) -> None:
    manifest = split(write("crowd.csv", crowd()), annotators="majority").manifest
    assert sum(manifest.rows.values()) == 60
    assert manifest.dropped["repeated annotation"] == 120
    assert "60 texts have several annotations, 180 in all, and 15 of these texts have different labels" in manifest.notes[0]


def test_a_class_of_too_few_texts_is_refused_with_the_way_out(write: Write) -> None:
    rows = [f"text {row},common,{worker}\n" for row in range(20) for worker in "ab"]
    rows += [f"rare {row},rare,{worker}\n" for row in range(2) for worker in "ab"]
    with pytest.raises(
        DataError, match=r"a split that keeps a text's annotations together needs groups .* 'rare' has 2"
    ) as caught:
        split(write("a.csv", "text,label,annotator\n" + "".join(rows)))
    assert "pass --annotators first, majority or drop" in str(caught.value)


def test_a_table_without_copies_is_split_as_before_whatever_is_asked(write: Write) -> None:
    path = write("a.csv", "text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(60)))
    fingerprints = {split(path, annotators=rule).manifest.fingerprint for rule in (None, "all", "first", "majority", "drop")}
    assert len(fingerprints) == 1


def test_a_configuration_without_the_options_has_the_hash_that_it_had() -> None:
    plain = SplitConfig()
    assert settings_hash(plain) == settings_hash(SplitConfig(annotators=None, sheet=None))
    assert settings_hash(plain) != settings_hash(SplitConfig(annotators="all"))
    assert settings_hash(plain) != settings_hash(SplitConfig(sheet="a"))


def test_groups_are_joined_by_chains() -> None:
    joined = join_groups(np.array([5, 5, 7, 7, 9]), np.array([1, 2, 2, 3, 4]))
    assert len(set(joined[:4])) == 1
    assert joined[4] not in joined[:4]
