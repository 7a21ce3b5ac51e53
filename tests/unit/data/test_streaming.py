"""Rows of every format are handed over as they are read: the same ones, in their order, a chunk at a time."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pipeline.data import builder
from pipeline.data.builder import Chosen
from pipeline.data.reading import delimited, fasttext, spreadsheets, tables
from pipeline.data.reading.tables import read_columns, read_table

FILES = Path(__file__).parent / "tool_files"
ROWS = 25


@pytest.fixture(params=["csv", "jsonl", "json", "parquet", "txt", "xlsx"])
def file(request, tmp_path):
    if request.param == "xlsx":
        return FILES / "openpyxl.xlsx"
    path = tmp_path / f"rows.{request.param}"
    table = pd.DataFrame({"text": [f"text {number}" for number in range(ROWS)], "label": ["a", "b", None, "a", "b"] * 5})
    if request.param == "csv":
        table.to_csv(path, index=False)
    elif request.param == "parquet":
        table.to_parquet(path, row_group_size=7)
    elif request.param == "txt":
        path.write_text("".join(f"__label__{label} {text}\n" for text, label in table.fillna("c").itertuples(index=False)))
    else:
        table.to_json(path, orient="records", lines=request.param == "jsonl")
    return path


def test_rows_are_handed_over_as_they_are_read(file, monkeypatch):
    for module in (builder, delimited, fasttext, spreadsheets, tables):
        monkeypatch.setattr(module, "CHUNK", 10)
    how = {"sheet": "Reviews"} if file.suffix == ".xlsx" else {}
    whole = read_table(file, choose=lambda _: Chosen(["text"]), **how)
    chunks = []

    def take(cells, rows):
        values = cells["text"].to_pylist() if isinstance(cells["text"], pa.Array) else list(cells["text"])
        assert len(values) == len(rows)
        chunks.append(values)

    left = read_columns(file, "--input", lambda _: Chosen(["text"], stream=take), **how)
    assert sum(map(len, left.values())) == 0, "nothing is kept"
    assert [value for chunk in chunks for value in chunk] == whole["text"].tolist()
    assert max(map(len, chunks)) <= 10
    assert len(chunks) > 1
