"""Read tables of delimited text: CSV, TSV and the like, with a header or without."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.data.builder import CHUNK, Choose, TableBuilder
from pipeline.data.reading.fasttext import is_fasttext, read_fasttext
from pipeline.data.reading.files import read_lines
from pipeline.errors import DataError, shorten

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", ":": "colon", " ": "space"}

# A field may hold a whole document; csv's own limit of 128 KiB is meant for other uses.
_LONGEST_FIELD = 2**30
_SAYS_DELIMITER = re.compile("\ufeff?sep=(.)")  # what Excel takes and writes as a first line


@dataclass(frozen=True)
class Dialect:
    """How a file of delimited text is to be read."""

    delimiter: str
    given: bool = False
    """Whether the delimiter was given by an option, as against the file's name."""
    header: bool = True
    """Whether the first row names the columns; else they are called 1, 2 and so on."""


def read_delimited(
    path: Path, where: str, choose: Choose, encoding: str | None, dialect: Dialect
) -> dict[str, pa.ChunkedArray]:
    """The chosen columns of a delimited text file.

    Raises:
        DataError: It is empty, holds no data below the header, has rows of unequal length, or a column that is used twice.
    """
    first = next(iter(read_lines(path, where, encoding)), "")
    skipped = 0
    if said := says_delimiter(first):
        skipped, dialect = 1, dialect if dialect.given else Dialect(said, True, dialect.header)
    elif not dialect.given and is_fasttext(read_lines(path, where, encoding)):
        return read_fasttext(path, where, choose, encoding)
    mark = _quotation_mark(path, where, encoding, dialect, skipped)
    lines = itertools.islice(read_lines(path, where, encoding), skipped, None)
    rows = _rows(lines, where, dialect.delimiter, mark, skipped)
    top = next(rows, [])
    if not top:
        raise DataError(f"{where}: the file is empty. It needs a header with the columns' names, then a row each.")
    header = [name.strip() for name in top] if dialect.header else [str(number + 1) for number in range(len(top))]
    chosen = choose(header)
    places = {name: find_place(where, header, name) for name in chosen.columns}
    places |= {name: header.index(name) for name in chosen.names if name not in places}

    def say_row(row: int) -> str:
        return f"row {row}" + (f" (row {row - 1 - skipped} below the header)" if dialect.header else "")

    builder = TableBuilder(chosen, where, say_row)
    chunk: list[list[str]] = []
    number, width = skipped + 1, len(header)

    def flush() -> None:
        cells = {name: [builder.read_cell(name, row[place]) for row in chunk] for name, place in places.items()}
        builder.add(cells, range(number - len(chunk) + 1, number + 1))
        chunk.clear()

    below = rows if dialect.header else itertools.chain([top], rows)
    for number, row in enumerate(below, start=skipped + 1 + dialect.header):
        if len(row) != width:
            name = NAMES.get(dialect.delimiter, f"{dialect.delimiter!r}")
            raise DataError(
                f"{where}: row {number} has {len(row)} fields, the {'header' if dialect.header else 'first row'} {width}. "
                f"Is a {name} missing, or does a field need quotation marks?"
            )
        chunk.append(row)
        if len(chunk) == CHUNK:
            flush()
    if number == skipped + 1 and dialect.header:
        raise DataError(f"{where}: only a header and no rows below it.")
    flush()
    return builder.finish()


def find_place(where: str, names: Sequence[str], name: str) -> int:
    """Where a column stands among all, whose other names may be empty or stand twice.

    Raises:
        DataError: It stands there twice.
    """
    if names.count(name) > 1:
        raise DataError(f"{where}: column {shorten(name)!r} stands twice in the header. Rename one.")
    return names.index(name)


def says_delimiter(line: str) -> str | None:
    """The delimiter that a first line such as `sep=;` names."""
    match = _SAYS_DELIMITER.fullmatch(line.rstrip("\r\n"))
    return match[1] if match else None


def parse_rows(lines: Iterator[str], delimiter: str, mark: str | None) -> Iterator[list[str]]:
    """The fields of each row that is not empty.

    Args:
        mark: What quotes fields; None if nothing does.

    Raises:
        csv.Error: A quotation mark is not closed, or something follows it that does not belong there.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    if mark is None:
        yield from filter(None, csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE))
    else:
        yield from filter(None, csv.reader(lines, delimiter=delimiter, quotechar=mark, strict=True))


def _rows(lines: Iterator[str], where: str, delimiter: str, mark: str | None, skipped: int) -> Iterator[list[str]]:
    seen = skipped

    def counted() -> Iterator[str]:
        nonlocal seen
        for line in lines:
            seen += 1
            yield line

    try:
        yield from parse_rows(counted(), delimiter, mark)
    except csv.Error as error:
        raise DataError(f"{where}: line {seen} cannot be read: {error}. Is a quotation mark not closed?") from error


def _quotation_mark(path: Path, where: str, encoding: str | None, dialect: Dialect, skipped: int) -> str | None:
    """What quotes the fields; None if nothing does."""

    def lines() -> Iterator[str]:
        return itertools.islice(read_lines(path, where, encoding), skipped, None)

    if dialect.given and _is_quoted_by_apostrophes(lines(), dialect):
        return "'"
    if dialect.delimiter in ",;" or _is_quoted(lines(), dialect.delimiter):
        return '"'
    return '"' if dialect.delimiter != "\t" and _is_regular(lines(), dialect.delimiter) else None


def _is_regular(lines: Iterator[str], delimiter: str) -> bool:
    """Whether rows with quoted fields, perhaps around line breaks, are of one length."""
    try:
        return len({len(row) for row in parse_rows(lines, delimiter, '"')}) == 1
    except csv.Error:
        return False


def _is_quoted(lines: Iterator[str], delimiter: str) -> bool:
    """Whether every field with a quotation mark is quoted as a whole, line by line."""
    marked = False
    for line in lines:
        if '"' in line:
            for field in line.rstrip("\r\n").split(delimiter):
                if '"' in field:
                    marked = True
                    if not _stands_in(field, '"'):
                        return False
    return marked


def _stands_in(field: str, mark: str) -> bool:
    """Whether a field is quoted as a whole: `"so" they say, "no"` is not, though it begins and ends with a mark."""
    return len(field) > 1 and field[0] == field[-1] == mark and mark not in field[1:-1].replace(2 * mark, "")


def _is_quoted_by_apostrophes(lines: Iterator[str], dialect: Dialect) -> bool:
    """Whether a column stands in apostrophes in every row, as in 10kGNAD, and rows read so are of one length."""
    part = re.escape(dialect.delimiter)
    field = re.compile(rf"(?:^|{part})('(?:[^']|'')*'(?=$|{part})|[^{part}]*)")
    width, quoted = None, None
    for line in itertools.islice(lines, int(dialect.header), None):
        if not line.strip():
            continue
        fields = field.findall(line.rstrip("\r\n"))
        now = {place for place, text in enumerate(fields) if _stands_in(text, "'")}
        quoted = now if quoted is None else quoted & now
        width = len(fields) if width is None else width
        if not quoted or len(fields) != width:
            return False
    return bool(quoted)
