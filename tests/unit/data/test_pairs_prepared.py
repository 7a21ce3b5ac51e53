"""Pairs of texts, and scores, from a file to prepared splits."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import SplitConfig
from pipeline.data.overlap.pairs import as_texts_of_pairs, group_pairs, measure_pair_overlap
from pipeline.data.prepared import PreparedData, prepare
from pipeline.errors import DataError

WORDS = ["fine", "great", "dull", "grim", "film", "plot", "story", "scene"]


def rows(count: int = 60) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sentence1": [f"{WORDS[row % 8]} number {row}" for row in range(count)],
            "sentence2": [f"{WORDS[row % 3]} as {row}" for row in range(count)],
            "score": [(row % 11) / 2 for row in range(count)],
            "same": [("no", "yes")[row % 2] for row in range(count)],
        }
    )


def prepared(folder: Path, table: pd.DataFrame, **options: Any) -> PreparedData:
    path = folder / "pairs.csv"
    table.to_csv(path, index=False)
    base = {"text_pair_column": "sentence2", "label_type": "score", "cache_dir": str(folder / "cache")}
    return prepare(str(path), SplitConfig(**{**base, **options}))[0]


def all_rows(data: PreparedData) -> pd.DataFrame:
    return pd.concat([data.read(split) for split in ("train", "validation", "test")], ignore_index=True)


def test_scores_of_pairs_are_kept_and_split_evenly(tmp_path: Path) -> None:
    table = rows(200)
    data = prepared(tmp_path, table)
    found = all_rows(data)
    assert found.columns.tolist() == ["text", "text_pair", "label"]
    expected = table[["sentence1", "sentence2", "score"]].set_axis(found.columns, axis=1)
    by = ["text", "text_pair"]
    pd.testing.assert_frame_equal(
        found.sort_values(by).reset_index(drop=True), expected.sort_values(by).reset_index(drop=True), check_dtype=False
    )
    assert data.manifest.rows == {"train": 160, "validation": 20, "test": 20}
    assert (data.manifest.pairs, data.manifest.classes, data.manifest.score_range) == (True, [], [0.0, 5.0])
    means = [data.read(split)["label"].mean() for split in ("train", "validation", "test")]
    assert np.ptp(means) < 0.5, "each fifth of the scores is in every split"


def test_classes_of_pairs_are_numbered_as_those_of_texts(tmp_path: Path) -> None:
    data = prepared(tmp_path, rows(), label_type="class", label_column="same")
    assert (data.manifest.classes, data.manifest.score_range, data.manifest.pairs) == (["no", "yes"], None, True)
    assert set(all_rows(data)["label"]) == {0, 1}


def test_rows_that_lack_either_text_or_the_score_are_dropped_and_counted(tmp_path: Path) -> None:
    table = rows()
    table.loc[0, "sentence1"] = None
    table.loc[1, "sentence2"] = "  "
    table.loc[[2, 3, 4], "score"] = None
    data = prepared(tmp_path, table)
    assert data.manifest.dropped == {"missing text": 2, "missing label": 3, "hidden label": 0}
    assert sum(data.manifest.rows.values()) == 55


def test_the_fingerprint_tells_either_text_and_the_score_apart(tmp_path: Path) -> None:
    fingerprints = {prepared(tmp_path, rows()).manifest.fingerprint}
    for column, value in (("sentence1", "other"), ("sentence2", "other"), ("score", 0.25)):
        table = rows()
        table.loc[7, column] = value
        fingerprints.add(prepared(tmp_path, table).manifest.fingerprint)
    single = prepared(tmp_path, rows(), text_pair_column=None, text_column="sentence1")
    assert not single.manifest.pairs
    fingerprints.add(single.manifest.fingerprint)
    assert len(fingerprints) == 5
    assert prepared(tmp_path, rows()).manifest.fingerprint in fingerprints


def test_hidden_scores_of_a_test_part_are_left_aside(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        table = rows(40)
        if part == "test":
            table["score"] = -1.0
        table.to_csv(folder / f"{part}.csv", index=False)
    config = SplitConfig(text_pair_column="sentence2", label_type="score", split="official", cache_dir=str(tmp_path / "cache"))
    data, _ = prepare(str(folder), config)
    assert "hidden" in data.manifest.notes[0]
    assert data.manifest.rows["test"] == 40


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"score": "high"}, {}, "label 'high' is no number"),
        ({"score": "inf"}, {}, "label 'inf' is no number"),
        ({"score": 1.0}, {}, "every row has the score 1"),
        ({}, {"labels": "a,b"}, "--labels a,b: names classes"),
        ({}, {"text_pair_column": "sentence3"}, "column 'sentence3' not found. Columns: sentence1, sentence2"),
        ({}, {"text_pair_column": "sentence1"}, "column 'sentence1' cannot be both first and second text"),
        ({}, {"text_pair_column": "score"}, "column 'score' cannot be both second text and label"),
        ({}, {"text_column": "sentence2"}, "--text-column and --text-pair-column are both 'sentence2'"),
        ({}, {"label_type": "class", "label_column": "score"}, "add --label-type score"),
    ],
)
def test_what_cannot_be_pairs_is_refused(tmp_path: Path, change: dict, options: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, rows().assign(**change), **options)
    assert message in str(caught.value)


def test_packaged_data_have_no_pairs(tmp_path: Path) -> None:
    for options in ({"text_pair_column": "x"}, {"label_type": "score"}):
        with pytest.raises(DataError, match="has one text and a class in each row"):
            prepare("rotten_tomatoes", SplitConfig(cache_dir=str(tmp_path), **options))


def test_groups_are_pairs_that_share_a_text_by_whatever_way() -> None:
    table = pd.DataFrame({"text": ["A b!", "c", "d", "e", "f"], "text_pair": ["x", "a  B", "c", "f", "e"]})
    groups = group_pairs(table)
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[4] != groups[0]


TEXT = st.sampled_from([f"{word} {number}" for word in WORDS for number in range(12)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, st.sampled_from([0.0, 1.5, 3.0, 5.0])), min_size=60, max_size=90))
def test_no_text_stands_on_two_sides_of_a_grouped_split(tmp_path: Path, pairs: list) -> None:
    table = pd.DataFrame(pairs, columns=["sentence1", "sentence2", "score"])
    try:
        data = prepared(tmp_path, table, split="grouped")
    except DataError:  # too few groups, or one that is too large
        return
    sides = [set(part["text"]) | set(part["text_pair"]) for part in map(data.read, ("train", "validation", "test"))]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert sum(data.manifest.rows.values()) == len(table)
    assert not any(count for found in data.manifest.overlap.values() for kind, count in found.items() if kind != "rows")


def test_overlap_counts_pairs_in_either_order_and_texts() -> None:
    train = pd.DataFrame({"text": ["a b", "c", "e"], "text_pair": ["d", "f", "g"], "label": [0, 1, 1]})
    test = pd.DataFrame(
        {"text": ["D", "c", "a b", "new", "one"], "text_pair": ["A, b", "f", "f", "g!", "two"], "label": [0, 1, 0, 0, 1]}
    )
    found = measure_pair_overlap({"train": train, "test": test})
    assert found.counts == {"train/test": {"rows": 5, "pair": 2, "both_texts": 3, "either_text": 4}}
    shown = found.examples["train/test"]["pair"][0]
    assert shown == {"test": "D / A, b", "train": "a b / d"}
    counted = as_texts_of_pairs(pd.concat([train, test.assign(text_pair=["a b", "f", "f", "g!", "two"])]))
    assert counted["text"].nunique() == 7, "a pair is the same in either order"
