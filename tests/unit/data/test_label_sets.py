"""Texts with any number of labels, in every shape that tables have them in."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from test_spreadsheets import text_cell, workbook

from pipeline.config import SplitConfig
from pipeline.data.prepared import Manifest, PreparedData, hash_rows, prepare
from pipeline.errors import DataError

LABELS = ("anger", "fear", "joy")
_DRAW = random.Random(0)
ROWS = [
    (
        f"text {row} of {_DRAW.randint(0, 10**6)}",
        [name for name, share in zip(LABELS, (0.5, 0.2, 0.6), strict=True) if _DRAW.random() < share],
    )
    for row in range(80)
]
Prepare = Callable[..., PreparedData]
Content = str | bytes | pd.DataFrame


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    def prepared(name: str, content: Content | None = None, **options: Any) -> PreparedData:
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path) if name.endswith("parquet") else content.to_csv(path, index=False)
        elif content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        options = {"label_type": "multi", **options}
        return prepare(str(path), SplitConfig(cache_dir=str(tmp_path / "cache"), **options))[0]

    return prepared


def lines(label: Callable[[list[str]], Any]) -> str:
    return "\n".join(json.dumps({"text": text, "label": label(labels)}) for text, labels in ROWS)


def frame(label: Callable[[list[str]], Any]) -> pd.DataFrame:
    return pd.DataFrame({"text": [text for text, _ in ROWS], "label": [label(labels) for _, labels in ROWS]})


def sheet(label: Callable[[list[str]], str]) -> bytes:
    """A workbook in which there is no cell for a label that is empty."""
    rows = [("text", "label"), *((text, label(labels)) for text, labels in ROWS)]
    written = [
        f"<row r='{number}'>{text_cell(f'A{number}', text)}{text_cell(f'B{number}', cell) if cell else ''}</row>"
        for number, (text, cell) in enumerate(rows, start=1)
    ]
    return workbook("".join(written))


COLUMNS = pd.DataFrame({"text": [text for text, _ in ROWS], **{name: [int(name in row) for _, row in ROWS] for name in LABELS}})
SHAPES: dict[str, tuple[str, Content, dict[str, Any]]] = {
    "JSON lists": ("a.jsonl", lines(list), {}),
    "JSON list, or one label alone": ("a.jsonl", lines(lambda row: row[0] if len(row) == 1 else row), {}),
    "Label Studio's choices": ("a.jsonl", lines(lambda row: row[0] if len(row) == 1 else {"choices": row}), {}),
    "0 and 1 by name": ("a.jsonl", lines(lambda row: {name: int(name in row) for name in LABELS}), {}),
    "Parquet lists": ("a.parquet", frame(list), {}),
    "JSON in CSV": ("a.csv", frame(json.dumps), {}),
    "a separator, empty for none": ("a.csv", frame("|".join), {"label_separator": "|"}),
    "a separator and spaces": ("a.csv", frame(" ; ".join), {"label_separator": "semicolon"}),
    "a sheet, empty for none": ("a.xlsx", sheet("|".join), {"label_separator": "|"}),
    "JSON in a sheet, empty for none": ("a.xlsx", sheet(lambda row: json.dumps(row) if row else ""), {}),
    "columns of 0 and 1": ("a.csv", COLUMNS, {"label_columns": LABELS}),
    "columns of truth values": ("a.parquet", COLUMNS.astype(dict.fromkeys(LABELS, bool)), {"label_columns": LABELS}),
}


@pytest.mark.parametrize(("name", "content", "options"), SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_is_the_same_data(prepared: Prepare, name: str, content: Content, options: dict[str, Any]) -> None:
    found = prepared(name, content, **options)
    assert found.manifest.classes == list(LABELS)
    assert found.manifest.problem.label_type == "multi"
    assert found.manifest.rows == {"train": 64, "validation": 8, "test": 8}
    expected = dict(ROWS)
    read = pd.concat([found.read(part) for part in ("train", "validation", "test")])
    assert {text: [LABELS[label] for label in row] for text, row in zip(read["text"], read["label"], strict=True)} == expected
    counts = np.array(list(found.manifest.rows_by_class.values()))
    assert counts.sum(axis=0).tolist() == [sum(name in row for _, row in ROWS) for name in LABELS]
    assert hash_rows(found.read("test")) == found.manifest.split_sha256["test"]


def test_names_in_the_schema_of_the_library_are_read(tmp_path: Path, prepared: Prepare) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.List(datasets.ClassLabel(names=["joy", "fear", "anger", "awe"]))}
    )
    names = features["label"].feature
    made = datasets.Dataset.from_dict(
        {"text": [text for text, _ in ROWS], "label": [[names.str2int(name) for name in row] for _, row in ROWS]}, features
    )
    made.to_parquet(tmp_path / "named.parquet")
    found = prepared("named.parquet").manifest
    assert found.classes == ["joy", "fear", "anger", "awe"], "in the schema's order, with one that no text has"
    assert [counts[-1] for counts in found.rows_by_class.values()] == [0, 0, 0]


def test_a_missing_label_is_none_and_no_label_is_one(prepared: Prepare) -> None:
    more = '\n{"text": "unknown", "label": null}\n{"text": "none", "label": []}\n{"text": "empty", "label": ""}'
    found = prepared("a.jsonl", lines(list) + more)
    assert found.manifest.dropped["missing label"] == 1
    assert sum(found.manifest.rows.values()) == len(ROWS) + 2
    columns = COLUMNS.astype(object)
    columns.loc[0, "joy"], columns.loc[1, "fear"] = None, -1
    dropped = prepared("b.csv", columns, label_columns=LABELS).manifest.dropped
    assert (dropped["missing label"], dropped["hidden label"]) == (1, 1)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_rejected_annotations_are_left_out_beside_columns_of_labels(prepared: Prepare, name: str) -> None:
    found = prepared(name, COLUMNS.assign(answer=["reject", *["accept"] * (len(ROWS) - 1)]), label_columns=LABELS)
    assert found.manifest.dropped["rejected annotation"] == 1


def test_whole_numbers_are_labels_however_they_are_written(prepared: Prepare) -> None:
    numbers = dict(zip(LABELS, (1.0, 2.0, 10.0), strict=True))
    assert prepared("a.parquet", frame(lambda row: [numbers[name] for name in row])).manifest.classes == ["1", "2", "10"]


def test_labels_may_be_listed_in_an_order(prepared: Prepare) -> None:
    assert prepared("a.jsonl", lines(list), labels=("joy", "fear", "anger")).manifest.classes == ["joy", "fear", "anger"]
    with pytest.raises(DataError, match=r"label 'anger' is none of --labels fear, joy\. Add it there"):
        prepared("a.jsonl", labels=("fear", "joy"))


def test_texts_that_stand_twice_with_other_sets_are_counted(prepared: Prepare) -> None:
    again = "\n" + json.dumps({"text": ROWS[0][0], "label": ["fear"] if ROWS[0][1] != ["fear"] else []})
    assert prepared("a.jsonl", lines(list) + again).manifest.audit["conflicting_labels"] == 1


def test_groups_stay_whole(prepared: Prepare) -> None:
    table = frame(list).assign(film=[f"film {row // 4}" for row in range(len(ROWS))])
    found = prepared("a.parquet", table, split="grouped", group_column="film")
    film = dict(zip(table["text"], table["film"], strict=True))
    films = [{film[text] for text in found.read(part)["text"]} for part in ("train", "validation", "test")]
    assert not (films[0] & films[1])
    assert not (films[0] & films[2])
    assert not (films[1] & films[2])
    assert (np.array(list(found.manifest.rows_by_class.values())) > 0).all()


REFUSED: dict[str, tuple[str | pd.DataFrame, dict[str, Any], str]] = {
    "joined without a separator": (
        frame("|".join),
        {},
        r"label 'anger\|.*' seems to be several .* Pass --label-separator \"\|\"",
    ),
    "a separator that is nowhere": (
        frame(lambda row: row[0] if row else ""),
        {"label_separator": "|"},
        r"--label-separator \| stands in no label, such as 'anger'\. Pass what stands between labels, or leave it out\.",
    ),
    "one label": (frame(lambda row: "joy"), {}, r"'joy' is the only label\. .* a --label-column of two classes\."),
    "no label at all": (frame(lambda row: ""), {}, "no row has a text and at least one label"),
    "ids": (frame(lambda row: f"id {random.random()}"), {}, "too many to be classes"),
    "a number in a column": (
        COLUMNS.assign(fear=3),
        {"label_columns": LABELS},
        r"row 1 of the data: 'fear' holds '3', and --label-columns names columns of 0 and 1\.",
    ),
    "a column that is not there": (
        COLUMNS,
        {"label_columns": ("joy", "awe")},
        r"column 'awe' not found\. .* Change --label-col",
    ),
    "no column that is there": (COLUMNS, {"label_columns": ("hope", "awe")}, r"column 'hope' not found\. .* Pass --label-col"),
    "the text as a label": (COLUMNS, {"label_columns": ("text", "joy")}, "column 'text' cannot be both text and label"),
    "columns and a column": (
        COLUMNS,
        {"label_columns": LABELS, "label_column": "joy"},
        r"--label-columns anger,fear,joy: names a column for each label, so --label-column joy says nothing\.",
    ),
    "one column": (COLUMNS, {"label_columns": ("joy",)}, "--label-columns joy: needs two labels or more, each once"),
    "another label type": (
        frame("|".join),
        {"label_separator": "|", "label_type": "class"},
        r"--label-separator \|: is for texts with any number of labels\. Add --label-type multi, or leave it out\.",
    ),
    "a rare label": (
        frame(lambda row: f"{'|'.join(row)}|rare" if row == ROWS[0][1] else "|".join(row)),
        {},
        "Pass --label-sep",
    ),
}


@pytest.mark.parametrize(("content", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(prepared: Prepare, content: str | pd.DataFrame, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared("a.csv", content, **options)


def test_a_label_that_not_every_part_can_have_is_named(prepared: Prepare) -> None:
    table = frame("|".join)
    table.loc[:1, "label"] += "|rare"
    with pytest.raises(DataError, match=r"label 'rare' has 2 example\(s\); train, validation and test need one each"):
        prepared("a.csv", table, label_separator="|")


def test_classes_are_told_how_to_be_read_as_sets(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(list), encoding="utf-8")
    with pytest.raises(DataError, match="If texts have several labels, add --label-type multi"):
        prepare(str(path), SplitConfig(cache_dir=str(tmp_path)))


def test_sets_of_one_label_are_noticed(prepared: Prepare) -> None:
    [note] = prepared("a.csv", frame(lambda row: row[0] if row else "none")).manifest.notes
    assert note.startswith("Every text has just one label.")


def test_manifests_of_older_versions_are_of_classes() -> None:
    assert not Manifest.__dataclass_fields__["multi"].default
