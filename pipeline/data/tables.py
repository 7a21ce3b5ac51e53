"""Read tables of texts from files of several formats, column by column, or say what is wrong with them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa

from pipeline.data.builder import Choose, Chosen, read_arrow
from pipeline.data.cells import as_series
from pipeline.data.delimited import DELIMITERS, Dialect, find_place, read_delimited
from pipeline.data.files import COMPRESSIONS, format_suffix, open_bytes
from pipeline.data.json_tables import JSON, read_json
from pipeline.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_PARQUET = (".parquet", ".pq")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
FORMATS = (*DELIMITERS, *JSON, *_PARQUET)
LFS = b"version https://git-lfs"
"""How a pointer begins that Git LFS leaves in place of a file."""


def is_table_file(path: Path) -> bool:
    """Whether a file's name says that it holds a table."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return bool(suffixes) and (
        suffixes[-1] in FORMATS or suffixes[-1] == ".zip" or (suffixes[-1] in COMPRESSIONS and suffixes[0] in FORMATS)
    )


def read_table(path: Path, where: str | None = None, choose: Choose | None = None, **how: Any) -> pd.DataFrame:
    """The table in a file as pandas holds it; see `read_columns`.

    Args:
        where: What error messages begin with; `--dataset PATH` if not given.
        choose: Which columns to read; all if not given.
        how: Further arguments of `read_columns`.

    Raises:
        DataError: The file cannot be read.
    """
    columns = read_columns(path, where or f"--dataset {path}", choose or Chosen, **how)
    return pd.DataFrame({name: as_series(column) for name, column in columns.items()})


def read_columns(
    path: Path,
    where: str,
    choose: Choose,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
) -> dict[str, pa.ChunkedArray]:
    """Columns of a CSV, TSV, JSON or Parquet file, compressed or not: every value a text, an empty one missing.

    Words such as `NA` or `null` stay words. A TSV file counts as unquoted (GLUE's way) unless every field that holds a
    quotation mark is quoted as a whole.

    Args:
        where: What error messages begin with.
        choose: Which columns to read.
        encoding: Of a text file; by its byte-order mark, or UTF-8, if not given.
        delimiter: Of a file of delimited text, which may then be called as it likes; by the file's name if not given.
        header: Whether the first row, or each JSON object, names the columns; else they are called 1, 2 and so on.

    Raises:
        DataError: Of another format or encoding, empty, no data below the header, rows of unequal length, or a value that is no
            text, number or truth value in a column that is read.
    """
    suffix = format_suffix(path, where)
    if suffix in JSON:
        return read_json(path, where, choose, encoding, header)
    if suffix in _PARQUET:
        return _read_parquet(path, where, choose)
    if delimiter or suffix in DELIMITERS:
        given = "\t" if delimiter == "tab" else delimiter
        return read_delimited(path, where, choose, encoding, Dialect(given or DELIMITERS[suffix], bool(given), header))
    if suffix in _SPREADSHEETS:
        raise DataError(f"{where}: is a spreadsheet, which is not read. Save the sheet as CSV in UTF-8.")
    raise DataError(
        f"{where}: files ending in {suffix or 'nothing'!r} are not read. "
        f"Give .csv or .tsv, {', '.join(JSON)}, .parquet, or one of these compressed ({', '.join(COMPRESSIONS)}); or say how "
        "the fields of a text file are delimited, such as --delimiter tab."
    )


def text_kind(path: Path, where: str) -> Literal["delimited", "json", "parquet"]:
    """What a file is, by its name."""
    suffix = format_suffix(path, where)
    return "json" if suffix in JSON else "parquet" if suffix in _PARQUET else "delimited"


def class_names(path: Path, where: str) -> dict[str, tuple[str, ...]]:
    """The names of classes by column, as the library datasets writes them into the schema of a Parquet file."""
    if format_suffix(path, where) not in _PARQUET:
        return {}
    with _parquet_file(path, where) as parquet:
        metadata = parquet.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        names = {column: _names_of(feature) for column, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):  # written by something else
        return {}
    return {column: found for column, found in names.items() if found}


def _names_of(feature: Any) -> tuple[str, ...]:
    """The class names of a feature of the library datasets, or of what its lists hold; empty if it has none."""
    if isinstance(feature, list):  # how older versions write a list
        return _names_of(feature[0]) if feature else ()
    if not isinstance(feature, dict):
        return ()
    return tuple(map(str, feature["names"])) if "names" in feature else _names_of(feature.get("feature"))


@contextlib.contextmanager
def _parquet_file(path: Path, where: str) -> Iterator[pq.ParquetFile]:
    """An open Parquet file.

    Raises:
        DataError: It, or what is read of it, is damaged.
    """
    import pyarrow.parquet as pq

    try:
        with open_bytes(path, where) as file:
            if path.suffix.lower() in COMPRESSIONS:
                file = pa.BufferReader(file.read())
            elif file.read(len(LFS)) == LFS:
                raise DataError(
                    f"{where}: is a pointer of Git LFS, not the data. Run `git lfs pull` in its folder, or download the file."
                )
            yield pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read as Parquet ({reason}). Is the file whole?") from error


def _read_parquet(path: Path, where: str, choose: Choose) -> dict[str, pa.ChunkedArray]:
    with _parquet_file(path, where) as parquet:
        names = parquet.schema_arrow.names
        chosen = choose(names)
        wanted = list(dict.fromkeys([*chosen.columns, *([chosen.answer] if chosen.answer else [])]))
        for name in wanted:
            find_place(where, names, name)
        table = parquet.read(columns=wanted).select(wanted)
        table.validate()
    if not table.num_rows:
        raise DataError(f"{where}: holds no rows.")
    return read_arrow(table, chosen, where)
