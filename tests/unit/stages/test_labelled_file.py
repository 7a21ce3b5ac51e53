"""A table written in parts: taken over, found damaged, and made one file of every format."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.stages.labelled_file import WRITERS, LabelledFile, as_array

PARTS = [{"n": [1, 2], "text": ["a", "=b"]}, {"n": [3], "text": [None]}]


def write(file, parts, identity="same"):
    labelled = LabelledFile(file, identity)
    for part in parts:
        labelled.add(pa.table({name: as_array(values) for name, values in part.items()}))
    return labelled


def left(file):
    return sorted(path.name for path in file.parent.iterdir())


@pytest.mark.parametrize("ending", WRITERS)
def test_the_file_holds_all_rows_in_order_and_the_parts_are_gone(tmp_path, ending):
    file = tmp_path / f"out{ending}"
    file.write_text("older")
    write(file, PARTS).finish()
    read = {".csv": pd.read_csv, ".jsonl": lambda path: pd.read_json(path, lines=True), ".parquet": pd.read_parquet}[ending]
    table = read(file)
    assert table["n"].tolist() == [1, 2, 3]
    assert table["text"].fillna("nothing").tolist() == ["a", "'=b" if ending == ".csv" else "=b", "nothing"]
    assert left(file) == [file.name]


def test_whoever_comes_next_goes_on_after_the_last_whole_part(tmp_path):
    file = tmp_path / "out.parquet"
    write(file, PARTS[:1])
    (tmp_path / ".out.parquet.parts" / "part-000001.parquet").write_bytes(b"half")  # of whom was killed
    labelled = LabelledFile(file, "same")
    assert labelled.rows == 2
    labelled.add(pa.table(PARTS[1]))
    labelled.finish()
    assert pd.read_parquet(file)["n"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("spoil", ["identity", "note", "first part"])
def test_parts_that_are_not_whole_or_of_something_else_are_not_taken_over(tmp_path, spoil):
    file = tmp_path / "out.parquet"
    write(file, PARTS)
    folder = tmp_path / ".out.parquet.parts"
    if spoil == "note":
        (folder / "parts.json").write_text((folder / "parts.json").read_text().replace("[2,", "[9,"))
    elif spoil == "first part":
        content = bytearray((folder / "part-000000.parquet").read_bytes())
        content[20] ^= 1
        (folder / "part-000000.parquet").write_bytes(content)
    assert LabelledFile(file, "other" if spoil == "identity" else "same").rows == 0
    assert [path.name for path in folder.iterdir()] == ["parts.json"]


def test_only_the_parts_before_a_damaged_one_are(tmp_path):
    file = tmp_path / "out.parquet"
    write(file, PARTS)
    (tmp_path / ".out.parquet.parts" / "part-000001.parquet").unlink()
    assert LabelledFile(file, "same").rows == 2


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([[1], [2.5]], [1.0, 2.5]),
        ([[None], ["x"]], [None, "x"]),
        ([[1], ["x"]], ["1", "x"]),
        ([[[1, 2]], ["x"]], ["[1, 2]", "x"]),
        ([[1, "x"], [2]], ["1", "x", "2"]),
        ([[{"a": 1}], [{"b": 2}]], ['{"a": 1}', '{"b": 2}']),
        ([[{}], ["x", None]], ["{}", '"x"', None]),
    ],
)
def test_a_column_gets_a_type_that_holds_all_its_values(tmp_path, parts, expected):
    file = tmp_path / "out.parquet"
    write(file, [{"c": values} for values in parts]).finish()
    assert pq.read_table(file).column("c").to_pylist() == expected


def test_values_that_a_cell_cannot_hold_are_json(tmp_path):
    file = tmp_path / "out.csv"
    write(file, [{"c": [["a", "ä"], None]}]).finish()
    assert [json.loads(cell) for cell in pd.read_csv(file)["c"].dropna()] == [["a", "ä"]]
