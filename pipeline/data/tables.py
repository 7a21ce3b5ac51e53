"""Read tables of texts from files of several formats, column by column, or say what is wrong with them.

Columns are Arrow arrays: a text takes its bytes and no Python object, so millions of rows fit.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.files import COMPRESSIONS, format_suffix, open_bytes, read_lines
from pipeline.errors import DataError, shorten
from pipeline.surrogates import has_surrogate

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_JSON = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")
FORMATS = (*_DELIMITERS, *_JSON, *_PARQUET)
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}

# A field may hold a whole document; csv's own limit of 128 KiB is meant for other uses.
_LONGEST_FIELD = 2**30
_CHUNK = 20_000  # rows that are Python objects at a time

Choose = Callable[[Sequence[str]], Sequence[str]]
"""Of the columns that there are, those to read."""


def is_table_file(path: Path) -> bool:
    """Whether a file's name says that it holds a table."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return bool(suffixes) and (
        suffixes[-1] in FORMATS or suffixes[-1] == ".zip" or (suffixes[-1] in COMPRESSIONS and suffixes[0] in FORMATS)
    )


def read_table(path: Path, where: str | None = None, choose: Choose | None = None, encoding: str | None = None) -> pd.DataFrame:
    """The table in a CSV, TSV, JSON-lines or Parquet file, compressed or not: every value a text, an empty one missing.

    Words such as `NA` or `null` stay words. A TSV file counts as unquoted (GLUE's way) unless every field that holds a
    quotation mark is quoted as a whole.

    Args:
        where: What error messages begin with; `--dataset PATH` if not given.
        choose: Which columns to read; all if not given.
        encoding: Of a text file; by its byte-order mark, or UTF-8, if not given.

    Raises:
        DataError: Of another format or encoding, empty, no data below the header, another delimiter, rows of unequal
            length, or a value that is no text, number or truth value in a column that is read.
    """
    where = where or f"--dataset {path}"
    suffix = format_suffix(path, where)
    choose = choose or (lambda names: names)
    if suffix in _DELIMITERS:
        columns = _read_delimited(path, where, choose, encoding, _DELIMITERS[suffix])
    elif suffix in _JSON:
        columns = _read_json(path, where, choose, encoding)
    elif suffix in _PARQUET:
        columns = _read_parquet(path, where, choose)
    else:
        raise DataError(
            f"{where}: files ending in {suffix or 'nothing'!r} are not read. "
            f"Give .csv or .tsv, {', '.join(_JSON)}, .parquet, or one of these compressed ({', '.join(COMPRESSIONS)})."
        )
    return pd.DataFrame({name: as_series(column) for name, column in columns.items()})


def as_series(column: pa.ChunkedArray) -> pd.Series[str]:
    """A pandas column that keeps its texts in Arrow."""
    return pd.Series(pd.StringDtype("pyarrow", na_value=float("nan")).__from_arrow__(column))  # type: ignore[attr-defined]


def as_texts(column: pa.ChunkedArray | pa.Array, where: str, name: str) -> pa.ChunkedArray:
    """A column of texts, numbers or truth values as texts, `True` and `False` as Python writes them; NaN is missing.

    Raises:
        DataError: It holds lists, records or bytes that are not UTF-8.
    """
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    kind = column.type
    try:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
            column = column.cast(kind)
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
            column = column.cast(kind)
        if pa.types.is_nested(kind):
            raise DataError(f"{where}: column {shorten(name)!r} holds {kind}, not a text or a class. Name another column.")
        if pa.types.is_boolean(kind):
            column = pc.if_else(column, pa.scalar("True", pa.large_string()), pa.scalar("False", pa.large_string()))
        elif pa.types.is_floating(kind):
            numbers = column.cast(pa.float64()) if pa.types.is_float16(kind) else column
            column = pc.if_else(pc.is_nan(numbers), pa.scalar(None, numbers.type), numbers)
        texts = column.cast(pa.large_string())
        texts.validate(full=True)
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: column {shorten(name)!r} cannot be read as text ({reason}). Name another column.") from error
    return texts


def scalars_as_texts(values: Sequence[Any], where: str, name: str, rows: Sequence[int] | None = None) -> pa.Array:
    """The same for Python values, such as those that JSON holds.

    Args:
        rows: The number of each value's row, for messages; counted from 1 if not given.
    """
    texts = []
    for index, value in enumerate(values):
        try:
            texts.append(_scalar_as_text(value))
        except TypeError as error:
            row = rows[index] if rows else index + 1
            raise DataError(
                f"{where}: row {row}: {shorten(name)!r} holds a {type(value).__name__}, not a text or a class. "
                "Name another column."
            ) from error
    return _array(texts, where, name, rows)


def _scalar_as_text(value: Any) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value or None
    if isinstance(value, (int, float, Decimal)) or hasattr(value, "dtype"):
        return str(value.item() if hasattr(value, "item") else value)
    raise TypeError


def _array(texts: list[str | None], where: str, name: str, rows: Sequence[int] | None) -> pa.Array:
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError as error:
        index = next(index for index, text in enumerate(texts) if text and has_surrogate(text))
        row = rows[index] if rows else index + 1
        raise DataError(
            f"{where}: row {row}: {shorten(name)!r} holds half of a surrogate pair, which is no character. "
            "Write the text in UTF-8."
        ) from error


def _chunked(chunks: list[pa.Array]) -> pa.ChunkedArray:
    return pa.chunked_array(chunks, pa.large_string())


def _read_delimited(path: Path, where: str, choose: Choose, encoding: str | None, delimiter: str) -> dict[str, pa.ChunkedArray]:
    quoted = delimiter == "," or _is_quoted(read_lines(path, where, encoding), delimiter)
    rows = _rows(read_lines(path, where, encoding), where, delimiter, quoted)
    header = [name.strip() for name in next(rows, [])]
    if not header:
        raise DataError(f"{where}: the file is empty. It needs a header with the columns' names, then a row each.")
    _check_header(where, header, delimiter, format_suffix(path, where))
    chosen = [(name, header.index(name)) for name in choose(header)]
    chunks: dict[str, list[pa.Array]] = {name: [] for name, _ in chosen}
    chunk: list[list[str]] = []

    def flush() -> None:
        numbers = range(number - len(chunk) + 1, number + 1)
        for name, index in chosen:
            chunks[name].append(_array([row[index] or None for row in chunk], where, name, numbers))
        chunk.clear()

    number, width = 1, len(header)
    for number, row in enumerate(rows, start=2):
        if len(row) != width:
            raise DataError(
                f"{where}: row {number} has {len(row)} fields, the header {width}. "
                f"Is a {_NAMES[delimiter]} missing, or does a field need quotation marks?"
            )
        chunk.append(row)
        if len(chunk) == _CHUNK:
            flush()
    if number == 1:
        raise DataError(f"{where}: only a header and no rows below it.")
    flush()
    return {name: _chunked(parts) for name, parts in chunks.items()}


def _rows(lines: Iterator[str], where: str, delimiter: str, quoted: bool) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=quoted)
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        raise DataError(f"{where}: line {reader.line_num} cannot be read: {error}. Is a quotation mark not closed?") from error


def _is_quoted(lines: Iterator[str], delimiter: str) -> bool:
    """Whether every field with a quotation mark is quoted as a whole, line by line."""
    marked = False
    for line in lines:
        if '"' in line:
            for field in line.rstrip("\r\n").split(delimiter):
                if '"' in field:
                    marked = True
                    if len(field) == 1 or not field[0] == field[-1] == '"':
                        return False
    return marked


def _check_header(where: str, header: list[str], delimiter: str, suffix: str) -> None:
    if len(header) == 1:
        other = next((mark for mark in _NAMES if mark != delimiter and mark in header[0]), None)
        if other:
            ending = ".tsv" if other == "\t" else ".csv"
            raise DataError(
                f"{where}: the header {shorten(header[0])!r} looks delimited by {_NAMES[other]}s, and {suffix} files "
                f"are read as delimited by {_NAMES[delimiter]}s. Convert the file"
                + (f" or name it {ending}." if other in ",\t" else " to commas.")
            )
    _check_distinct(where, header)


def _check_distinct(where: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in sorted(names) if names.count(name) > 1)
        raise DataError(f"{where}: column {shorten(twice)!r} stands twice in the header. Rename one.")


def _read_json(path: Path, where: str, choose: Choose, encoding: str | None) -> dict[str, pa.ChunkedArray]:
    chosen: Sequence[str] | None = None
    chunks: dict[str, list[pa.Array]] = {}
    chunk: list[dict[str, Any]] = []
    numbers: list[int] = []

    def flush() -> None:
        nonlocal chosen
        if chosen is None:
            # A key may be half a surrogate pair, which no table takes for a name.
            keys = dict.fromkeys(key for record in chunk for key in record)
            chosen = choose([key for key in keys if not has_surrogate(key)])
            chunks.update({name: [] for name in chosen})
        for name in chosen:
            values = [record.get(name) for record in chunk]
            chunks[name].append(scalars_as_texts(values, where, name, numbers))
        chunk.clear()
        numbers.clear()

    for number, record in _records(path, where, encoding):
        chunk.append(record)
        numbers.append(number)
        if len(chunk) == _CHUNK:
            flush()
    if not chunk and chosen is None:
        raise DataError(f"{where}: the file is empty. It needs one JSON object a line.")
    if chunk:
        flush()
    return {name: _chunked(parts) for name, parts in chunks.items()}


def _records(path: Path, where: str, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """JSON objects with the number of their line; those of a single array, too, numbered from 1."""
    lines = read_lines(path, where, encoding)
    begun = False
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            continue
        if not begun and line.lstrip().startswith("[") and format_suffix(path, where) == ".json":
            array = _parse_json("".join([line, *lines]), where, "it")
            for index, item in enumerate(array, start=1):
                yield index, _as_record(item, where, f"item {index}")
            return
        begun = True
        yield number, _as_record(_parse_json(line, where, f"line {number}"), where, f"line {number}")


def _parse_json(text: str, where: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: {what} is not JSON: {reason}. Write one JSON object a line.") from error


def _as_record(value: Any, where: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f'{where}: {what} is no JSON object. Write {{"text": "...", "label": "..."}}, one a line.')
    return value


def _read_parquet(path: Path, where: str, choose: Choose) -> dict[str, pa.ChunkedArray]:
    import pyarrow.parquet as pq

    try:
        with open_bytes(path, where) as file:
            if path.suffix.lower() in COMPRESSIONS:
                file = pa.BufferReader(file.read())
            parquet = pq.ParquetFile(file)
            names = parquet.schema_arrow.names
            _check_distinct(where, names)
            chosen = list(choose(names))
            table = parquet.read(columns=chosen).select(chosen)
            table.validate()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read as Parquet ({reason}). Is the file whole?") from error
    if not table.num_rows:
        raise DataError(f"{where}: holds no rows.")
    return {name: as_texts(table.column(name), where, name) for name in chosen}
