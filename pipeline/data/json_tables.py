"""Read tables written as JSON: an object a line, an array of objects, and what pandas and annotation tools make of a table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.data.annotations import as_row, is_nested_argilla
from pipeline.data.builder import CHUNK, Choose, TableBuilder
from pipeline.data.files import format_suffix, read_lines
from pipeline.errors import DataError, enumerate_some
from pipeline.surrogates import has_surrogate

JSON = (".jsonl", ".ndjson", ".json")


def read_json(path: Path, where: str, choose: Choose, encoding: str | None, header: bool = True) -> dict[str, pa.ChunkedArray]:
    """The chosen columns of a JSON file.

    Args:
        header: Whether rows name their columns; else they are lists, whose columns are called 1, 2 and so on.

    Raises:
        DataError: It is empty, is not JSON, or holds something else than rows.
    """
    records = _records(path, where, encoding, header)
    builder: TableBuilder | None = None
    while chunk := list(itertools.islice(records, CHUNK)):
        if is_nested_argilla(chunk[0][1]):
            raise DataError(
                f"{where}: is Argilla's own JSON, which does not say which responses were discarded. Export records.to_list("
                "flatten=True) and name the column of the responses, such as --label-column label.responses."
            )
        rows = [as_row(record) for _, record in chunk]
        if builder is None:
            # A key may be half a surrogate pair, which no table takes for a name.
            keys = dict.fromkeys(key for row in rows for key in row)
            builder = TableBuilder(choose([key for key in keys if not has_surrogate(key)]), where)
        builder.add({name: [row.get(name) for row in rows] for name in builder.names}, [number for number, _ in chunk])
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
        value = json.loads(first)
    except (ValueError, RecursionError) as error:
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
        return json.loads(text)
    except (ValueError, RecursionError) as error:
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
