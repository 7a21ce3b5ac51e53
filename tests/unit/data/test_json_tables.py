"""Tables as pandas, the library datasets and people write them in JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import pytest

from pipeline.config import SplitConfig
from pipeline.data.prepared import Manifest, prepare
from pipeline.errors import DataError

Write = Callable[[str, str | bytes], Path]
Orient = Literal["records", "columns", "index", "split", "table"]
TABLE = pd.DataFrame(
    {"id": range(40), "text": [f"text {row}" for row in range(40)], "label": [("a", "b")[row % 2] for row in range(40)]}
)


def prepared(path: Path, **options: object) -> Manifest:
    return prepare(str(path), SplitConfig(cache_dir=str(path.parent / "cache"), **options))[0].manifest


def is_table(manifest: Manifest) -> bool:
    return (manifest.classes, sum(manifest.rows.values())) == (["a", "b"], 40)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("orient", get_args(Orient))
def test_every_layout_of_pandas_is_read(tmp_path: Path, orient: Orient, named: bool, indent: int | None) -> None:
    table = TABLE.set_index(pd.Index([f"row {row}" for row in range(40)])) if named else TABLE
    table.to_json(tmp_path / "a.json", orient=orient, indent=indent)
    assert is_table(prepared(tmp_path / "a.json"))


def test_values_without_names_are_read_by_number(tmp_path: Path) -> None:
    TABLE.to_json(tmp_path / "a.json", orient="values")
    with pytest.raises(DataError, match=r"holds lists of values without names, .* Pass --no-header true and name columns by"):
        prepared(tmp_path / "a.json")
    assert is_table(prepared(tmp_path / "a.json", no_header=True, text_column="2", label_column="3"))


RECORDS: list[dict[str, Any]] = TABLE.to_dict("records")


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("a.json", {"data": RECORDS}),
        ("a.json", {"version": "1.0", "data": RECORDS}),
        ("a.json", TABLE.to_dict("list")),
        ("a.jsonl", RECORDS),
        ("a.ndjson", {"data": RECORDS}),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_wrapped_tables_are_read(write: Write, name: str, document: object, indent: int | None) -> None:
    assert is_table(prepared(write(name, json.dumps(document, indent=indent))))


def test_several_tables_in_one_file_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"holds 2 lists of rows: train, test\. Save each as a file of its own and name them"):
        prepared(write("a.json", json.dumps({"train": RECORDS, "test": RECORDS})))


def test_a_single_record_is_a_row(write: Write) -> None:
    with pytest.raises(DataError, match=r"every row has the label 'b'"):
        prepared(write("a.json", '{"text": "a", "label": ["b"]}'))
