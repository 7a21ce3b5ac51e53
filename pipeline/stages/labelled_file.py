"""A table that is written in parts: whoever was interrupted goes on, and the file is there whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.atomic_io import replace_text, synchronise
from pipeline.csv_text import as_lines
from pipeline.failures import writing_to
from pipeline.hashing import hash_file, read_with_checksum, with_checksum

_NOTE = "parts.json"


@dataclass(frozen=True)
class _Part:
    rows: int
    sha256: str


def parts_folder(file: Path) -> Path:
    """Where the parts of a file lie until it is whole."""
    return file.with_name(f".{file.name}.parts")


class LabelledFile:
    """Parts in a folder beside the file that they become."""

    def __init__(self, file: Path, identity: str) -> None:
        """Take over the parts that are there and whole, and were written for the same; remove others.

        Args:
            identity: Of all that decides what is written.
        """
        self._file, self._identity = file, identity
        self._folder = parts_folder(file)
        self._parts = self._find_parts()
        for stale in set(self._folder.glob("*.parquet")) - {self._path(number) for number in range(len(self._parts))}:
            stale.unlink()

    @property
    def rows(self) -> int:
        """How many are in the parts."""
        return sum(part.rows for part in self._parts)

    def add(self, table: pa.Table) -> None:
        """Write the next part."""
        import pyarrow.parquet as pq

        path = self._path(len(self._parts))
        with writing_to(self._file.parent):
            self._folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path)
            synchronise(path)
        self._parts.append(_Part(table.num_rows, hash_file(path)))
        parts = [[part.rows, part.sha256] for part in self._parts]
        replace_text(self._folder / _NOTE, with_checksum({"identity": self._identity, "parts": parts}), alone=True)

    def finish(self) -> None:
        """Make the file of its parts, in the place of an older one, and remove them."""
        import pyarrow.parquet as pq

        scratch = self._folder / f"whole{self._file.suffix}"
        paths = [self._path(number) for number in range(len(self._parts))]
        schema = _unify([pq.read_schema(path) for path in paths])
        tables = (_cast(pq.read_table(path), schema) for path in paths)
        with writing_to(self._file.parent):
            WRITERS[self._file.suffix.lower()](scratch, schema, tables)
            synchronise(scratch)
            scratch.replace(self._file)
        shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06}.parquet"

    def _find_parts(self) -> list[_Part]:
        try:
            noted: Any = read_with_checksum((self._folder / _NOTE).read_text(encoding="utf-8"))
            parts = [_Part(*part) for part in noted["parts"]] if noted["identity"] == self._identity else []
        except (OSError, ValueError, KeyError, TypeError):
            return []
        whole: list[_Part] = []
        for number, part in enumerate(parts):
            if not self._path(number).is_file() or hash_file(self._path(number)) != part.sha256:
                break
            whole.append(part)
        return whole


def as_array(values: pa.Array | Sequence[Any]) -> pa.Array:
    """A column of whatever a file holds: of one type if it can be, else of texts.

    JSON's objects are kept as JSON: Arrow would give each the keys of all others, and Parquet holds none without keys.
    """
    if isinstance(values, pa.Array):
        return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    if any(map(_holds_object, values)):
        return _as_json(values)
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _as_texts(values)


_JSON = pa.json_(pa.large_string())


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_object, value)))


def _as_json(values: Sequence[Any]) -> pa.Array:
    texts = [value if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]
    return pa.ExtensionArray.from_storage(_JSON, pa.array(texts, pa.large_string()))


def _as_texts(values: Sequence[Any]) -> pa.Array:
    return pa.array([value if value is None else _as_cell(value) for value in values], pa.large_string())


def _as_cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """For each column a type that holds the values of all parts; texts if no other does."""
    fields = []
    for name in schemas[0].names:
        if any(schema.field(name).type == _JSON for schema in schemas):
            fields.append(pa.field(name, _JSON))
            continue
        alone = [pa.schema([pa.field(name, schema.field(name).type)]) for schema in schemas]
        try:
            fields.append(pa.unify_schemas(alone, promote_options="permissive").field(0))
        except pa.ArrowException:
            fields.append(pa.field(name, pa.large_string()))
    return pa.schema(fields)


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        column = table.column(field.name)
        if field.type == _JSON != column.type:
            columns.append(_as_json(column.to_pylist()))
            continue
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException:  # lists and structs as texts
            columns.append(_as_texts(column.to_pylist()))
    return pa.table(columns, schema=schema)


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*map(_values, table.columns), strict=True)


def _values(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [value if value is None else json.loads(value) for value in values] if column.type == _JSON else values


def _write_csv(file: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write(as_lines([schema.names]))
        for table in tables:
            out.write(as_lines(map(_as_cells, _rows(table))))


def _as_cells(row: Sequence[Any]) -> list[Any]:
    return [_as_cell(value) if isinstance(value, (list, dict)) else value for value in row]


def _write_json_lines(file: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        for table in tables:
            for row in _rows(table):
                out.write(json.dumps(dict(zip(schema.names, row, strict=True)), ensure_ascii=False, default=str) + "\n")


def _write_parquet(file: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    import pyarrow.parquet as pq

    plain = pa.schema([field.with_type(pa.large_string()) if field.type == _JSON else field for field in schema])
    with pq.ParquetWriter(file, plain) as out:
        for table in tables:
            out.write_table(table.cast(plain))


WRITERS: dict[str, Callable[[Path, pa.Schema, Iterator[pa.Table]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}
"""By the file's ending."""
