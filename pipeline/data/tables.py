"""Read delimited text files as they come, or say what is wrong with them."""

import csv
import io
from pathlib import Path

import pandas as pd

from pipeline.errors import DataError

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}

# A field may hold a whole document; csv's own limit of 128 KiB is meant for other uses.
_LONGEST_FIELD = 2**30


def read_table(path: Path) -> pd.DataFrame:
    """The table in a CSV or TSV file: every value a text, an empty field missing.

    Words such as `NA` or `null` stay words. A TSV file counts as unquoted (GLUE's way) unless every field that holds a
    quotation mark is quoted as a whole.

    Raises:
        DataError: Not text in UTF-8, empty, no data below the header, another delimiter, or rows of unequal length.
    """
    text = _decode(path)
    delimiter = _DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        raise DataError(f"--dataset {path}: files ending in {path.suffix or 'nothing'!r} are not read. Give .csv or .tsv.")
    rows = _rows(path, text, delimiter)
    if not rows:
        raise DataError(f"--dataset {path}: the file is empty. It needs a header with the columns' names, then a row each.")
    header, body = [name.strip() for name in rows[0]], rows[1:]
    _check_header(path, header, delimiter)
    if not body:
        raise DataError(f"--dataset {path}: only a header and no rows below it.")
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise DataError(
                f"--dataset {path}: row {number} has {len(row)} fields, the header {len(header)}. "
                f"Is a {_NAMES[delimiter]} missing, or does a field need quotation marks?"
            )
    frame = pd.DataFrame(body, columns=header, dtype=object)
    return frame.mask(frame == "")


def _decode(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"--dataset {path}: UTF-16, or not text at all. Save it as UTF-8.")
    if b"\0" in content:
        raise DataError(f"--dataset {path}: holds NUL bytes, so it is not a text file. Give a CSV or TSV file in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"--dataset {path}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error


def _rows(path: Path, text: str, delimiter: str) -> list[list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    quoted = delimiter == "," or _is_quoted(text, delimiter)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=quoted,
    )
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        raise DataError(
            f"--dataset {path}: line {reader.line_num} cannot be read: {error}. Is a quotation mark not closed?"
        ) from error


def _is_quoted(text: str, delimiter: str) -> bool:
    """Whether every field with a quotation mark is quoted as a whole, line by line."""
    lines = (line.rstrip("\n") for line in io.StringIO(text, newline=None) if '"' in line)
    marked = [field for line in lines for field in line.split(delimiter) if '"' in field]
    return bool(marked) and all(len(field) > 1 and field[0] == field[-1] == '"' for field in marked)


def _check_header(path: Path, header: list[str], delimiter: str) -> None:
    if len(header) == 1:
        other = next((mark for mark in _NAMES if mark != delimiter and mark in header[0]), None)
        if other:
            ending = ".tsv" if other == "\t" else ".csv"
            raise DataError(
                f"--dataset {path}: the header {header[0]!r} looks delimited by {_NAMES[other]}s, and {path.suffix} files "
                f"are read as delimited by {_NAMES[delimiter]}s. Convert the file"
                + (f" or name it {ending}." if other in ",\t" else " to commas.")
            )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"--dataset {path}: column {twice[0]!r} stands twice in the header. Rename one.")
