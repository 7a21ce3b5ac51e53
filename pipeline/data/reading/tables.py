"""Read tables in files of any format, by their names; of JSON an object a line, an array of objects, and what pandas writes.

Delimited text is read in `delimited`, JSON and Parquet here. Rows of annotation tools are made flat.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa

from pipeline.data.annotations.records import as_rows, is_nested_argilla, task_of
from pipeline.data.builder import CHUNK, Choose, Chosen, Stream, TableBuilder, read_arrow
from pipeline.data.labels import as_series
from pipeline.data.reading.delimited import DELIMITERS, Dialect, find_place, read_delimited
from pipeline.data.reading.fasttext import is_fasttext, read_fasttext
from pipeline.data.reading.files import COMPRESSIONS, LFS, format_suffix, lfs_pointer, open_bytes, read_lines
from pipeline.data.reading.spreadsheets import SPREADSHEETS, UNREAD_SPREADSHEETS, read_spreadsheet
from pipeline.errors import DataError, enumerate_some, has_surrogate, shorten
from pipeline.json_text import parse_json

if TYPE_CHECKING:
    import pyarrow.parquet as pq

JSON = (".jsonl", ".ndjson", ".json")

_PARQUET = (".parquet", ".pq")
FORMATS = (*DELIMITERS, *JSON, *_PARQUET, *SPREADSHEETS)


def read_json(path: Path, where: str, choose: Choose, encoding: str | None, header: bool = True) -> dict[str, pa.ChunkedArray]:
    """The chosen columns of a JSON file.

    Args:
        header: Whether rows name their columns; else they are lists, whose columns are called 1, 2 and so on.

    Raises:
        DataError: It is empty, is not JSON, or holds something else than rows.
    """
    records = _records(path, where, encoding, header)
    builder: TableBuilder | None = None
    tasks: dict[int, Any] = {}

    def say_row(row: int) -> str:
        return f"row {row}" + (f" (task {shorten(str(tasks[row]))})" if row in tasks else "")

    while chunk := list(itertools.islice(records, CHUNK)):
        if is_nested_argilla(chunk[0][1]):
            raise DataError(
                f"{where}: is Argilla's own JSON, which does not say which responses were discarded. Export records.to_list("
                "flatten=True) and name the column of the responses, such as --label-column label.responses."
            )
        rows = [(number, row) for number, record in chunk for row in as_rows(record)]
        tasks |= {number: task for number, record in chunk if (task := task_of(record)) is not None}
        if builder is None:
            # A key may be half a surrogate pair, which no table takes for a name.
            keys = dict.fromkeys(key for _, row in rows for key in row)
            if len(chunk) == CHUNK:  # later rows may have keys that none of these has
                keys |= dict.fromkeys(
                    key for _, record in _records(path, where, encoding, header) for row in as_rows(record) for key in row
                )
            builder = TableBuilder(choose([key for key in keys if not has_surrogate(key)]), where, say_row)
        builder.add({name: [row.get(name) for _, row in rows] for name in builder.names}, [number for number, _ in rows])
    if builder is None:
        raise DataError(f"{where}: the file is empty. It needs one JSON object a line.")
    return builder.finish()


def _records(path: Path, where: str, encoding: str | None, header: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """JSON objects with the number of their line; those of a single document, numbered from 1."""
    every = enumerate(read_lines(path, where, encoding), start=1)
    lines = ((number, line) for number, line in every if line and not line.isspace())
    number, first = next(lines, (0, ""))
    if not first:
        return
    is_document = format_suffix(path, where) == ".json" or first.strip() in ("[", "{") or first.lstrip().startswith("[")
    try:
        value = parse_json(first)
    except ValueError as error:
        if not is_document:
            raise _no_json(error, where, f"line {number}") from error
        value = _parse("".join([first, *(line for _, line in lines)]), where, "it")
        second = None
    else:
        second = next(lines, None)
    if second is None:
        rows = _rows_of(value, where)
        if rows and header and isinstance(rows[0], list) and isinstance(value, list):
            raise DataError(
                f"{where}: holds lists of values without names, as pandas' orient='values' does. Pass --no-header true and "
                "name columns by number, such as --text-column 1 --label-column 2."
            )
        start = number if rows == [value] else 1
        for index, item in enumerate(rows, start=start):
            yield index, _as_record(item, where, f"item {index}", header)
        return
    for place, line in itertools.chain([(number, first), second], lines):
        yield place, _as_record(_parse(line, where, f"line {place}"), where, f"line {place}", header)


def _parse(text: str, where: str, what: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise _no_json(error, where, what) from error


def _no_json(error: Exception, where: str, what: str) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{where}: {what} is not JSON: {reason}. Write one JSON object a line.")


def _as_record(value: Any, where: str, what: str, header: bool) -> dict[str, Any]:
    if isinstance(value, list) and value and not header:
        return {str(number): cell for number, cell in enumerate(value, start=1)}
    if not isinstance(value, dict):
        raise DataError(f'{where}: {what} is no JSON object. Write {{"text": "...", "label": "..."}}, one a line.')
    return value


def _rows_of(document: Any, where: str) -> list[Any]:
    """The rows of a file that is one JSON value, in whichever way it holds them; itself where it is a row."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict) or not document:
        return [document]
    columns, data = document.get("columns"), document.get("data")
    if isinstance(columns, list) and isinstance(data, list) and _all_are(list, data):  # pandas' orient="split"
        return [dict(zip(map(str, columns), row, strict=False)) for row in data]
    if _all_are(dict, list(document.values())):  # pandas' orient="columns" and "index"
        return _by_row(document)
    lists = {name: value for name, value in document.items() if _all_are(dict, value) and value}
    if len(lists) == 1 and "annotations" not in lists:  # pandas' orient="table", and rows wrapped in an object
        return next(iter(lists.values()))
    if len(lists) == len(document):
        raise DataError(
            f"{where}: holds {len(lists)} lists of rows: {enumerate_some(list(lists), 5)}. Save each as a file of its own and "
            "name them: --train-file, --validation-file, --test-file."
        )
    values = list(document.values())
    if _all_are(list, values) and len(values) > 1 and {len(value) for value in values} == {max(2, len(values[0]))}:
        return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]  # a list a column
    return [document]


def _all_are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _by_row(document: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an object of objects: those that are named by number stand for rows, else those that are more."""
    inner = dict.fromkeys(key for value in document.values() for key in value)
    outer_are_rows = _are_numbers(document) or (not _are_numbers(inner) and len(document) > len(inner))
    if outer_are_rows:
        return [dict(value) for value in document.values()]
    return [{name: column.get(row) for name, column in document.items()} for row in inner]


def _are_numbers(names: Mapping[str, Any] | Sequence[str]) -> bool:
    return all(name.lstrip("-").isdigit() for name in names)


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
    sheet: str | None = None,
) -> dict[str, pa.ChunkedArray]:
    """Columns of a CSV, TSV, JSON or Parquet file, compressed or not, or of a sheet: every value a text, an empty one missing.

    Words such as `NA` or `null` stay words. A TSV file counts as unquoted (GLUE's way) unless every field that holds a
    quotation mark is quoted as a whole.

    Args:
        where: What error messages begin with.
        choose: Which columns to read.
        encoding: Of a text file; by its byte-order mark, or UTF-8, if not given.
        delimiter: Of a file of delimited text, which may then be called as it likes; by the file's name if not given.
        header: Whether the first row, or each JSON object, names the columns; else they are called 1, 2 and so on.
        sheet: Of a spreadsheet, which one.

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
    if suffix in SPREADSHEETS:
        return read_spreadsheet(path, where, choose, header, sheet)
    if suffix in UNREAD_SPREADSHEETS:
        raise DataError(f"{where}: {suffix} is not read. Save it as .xlsx or .ods, or the sheet as CSV in UTF-8.")
    if _begins_as_fasttext(path, where, encoding):
        return read_fasttext(path, where, choose, encoding)
    raise DataError(
        f"{where}: files ending in {suffix or 'nothing'!r} are not read. "
        f"Give .csv or .tsv, {', '.join(JSON)}, .parquet, .xlsx or .ods, or one of these compressed "
        f"({', '.join(COMPRESSIONS)}); or say how the fields of a text file are delimited, such as --delimiter tab."
    )


def _begins_as_fasttext(path: Path, where: str, encoding: str | None) -> bool:
    """Whether a file says so itself, whatever its ending."""
    try:
        return is_fasttext(read_lines(path, where, encoding))
    except DataError:  # no text
        return False


def file_kind(path: Path, where: str) -> Literal["delimited", "json", "parquet", "spreadsheet"]:
    """What a file is, by its name."""
    suffix = format_suffix(path, where)
    if suffix in SPREADSHEETS:
        return "spreadsheet"
    return "json" if suffix in JSON else "parquet" if suffix in _PARQUET else "delimited"


def class_names(path: Path, where: str) -> dict[str, tuple[str, ...]]:
    """The names of classes by column, as the library datasets writes them into the schema of a Parquet file."""
    if format_suffix(path, where) not in _PARQUET:
        return {}
    with _parquet_file(path, where) as parquet:
        metadata = parquet.schema_arrow.metadata or {}
    try:
        features = parse_json(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        names = {column: _names_of(feature) for column, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):  # written by something else
        return {}
    return {column: classes for column, classes in names.items() if classes}


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
                raise lfs_pointer(where)
            yield pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read as Parquet ({reason}). Is the file whole?") from error


def _read_parquet(path: Path, where: str, choose: Choose) -> dict[str, pa.ChunkedArray]:
    with _parquet_file(path, where) as parquet:
        names = parquet.schema_arrow.names
        chosen = choose(names)
        wanted = chosen.names
        for name in wanted:
            find_place(where, names, name)
        if chosen.stream:
            return _stream_parquet(parquet, wanted, chosen.stream)
        table = parquet.read(columns=wanted).select(wanted)
        table.validate()
    if not table.num_rows:
        raise DataError(f"{where}: holds no rows.")
    return read_arrow(table, chosen, where)


def _stream_parquet(parquet: pq.ParquetFile, names: Sequence[str], stream: Stream) -> dict[str, pa.ChunkedArray]:
    """Hand over a chunk of rows at a time, as Arrow holds them."""
    rows = 0
    for batch in parquet.iter_batches(CHUNK, columns=list(names)):
        batch.validate()
        stream({name: batch.column(name) for name in names}, range(rows + 1, rows + 1 + batch.num_rows))
        rows += batch.num_rows
    return {}
