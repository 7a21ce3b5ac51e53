"""What a file seems to be whose columns were not found, and what to type for it.

Nothing here is asked while a file can be read: a guess is made only where there is a complaint to make anyway.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from pipeline.config import SplitConfig
from pipeline.data.columns import LABEL_NAMES, TEXT_NAMES
from pipeline.data.reading.delimited import DELIMITERS, NAMES, parse_rows
from pipeline.data.reading.fasttext import is_fasttext
from pipeline.data.reading.files import LFS, format_suffix, lfs_pointer, read_lines
from pipeline.errors import DataError, shorten
from pipeline.json_text import parse_json

_LINES = 200  # that are looked at
_SHOWN = 6  # cells of a row in a message
_GUESSED = (",", "\t", ";", "|")
_MOSTLY = 0.9  # of the rows have as many fields as the first one, if the delimiter is right
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?", re.ASCII)
_WEB_PAGE = re.compile(r"\s*<(!doctype|html|\?xml)", re.IGNORECASE)


@dataclass(frozen=True)
class _Table:
    """The beginning of a file as a delimiter parts it."""

    delimiter: str
    rows: list[list[str]]

    @property
    def width(self) -> int:
        return len(self.rows[0])

    @property
    def regularity(self) -> float:
        """The share of rows that are as long as the first one; 0 where nothing is parted."""
        return mean(len(row) == self.width for row in self.rows) if self.width > 1 else 0.0

    def guess_columns(self) -> tuple[int, int | None]:
        """Where text and label may stand: in the longest column, and in that of the others whose values repeat most."""
        rows = [row for row in self.rows if len(row) == self.width]
        columns = [[row[place].strip() for row in rows] for place in range(self.width)]
        text = max(range(self.width), key=lambda place: mean(map(len, columns[place])))
        kinds = {place: len(set(columns[place])) for place in range(self.width) if place != text}
        repeated = [place for place, count in kinds.items() if 1 < count <= max(2, len(rows) // 2)]
        return text, min(repeated, key=lambda place: kinds[place], default=None)


def describe_file(path: Path, where: str, config: SplitConfig) -> str | None:
    """What a text file seems to be, and which options read it; None where nothing speaks for another layout."""
    suffix = format_suffix(path, where)
    try:
        lines = [line for line in itertools.islice(read_lines(path, where, config.encoding), _LINES) if not line.isspace()]
    except DataError:  # not text: said by whoever was about to read it
        return None
    if not lines or not (suffix in DELIMITERS or config.delimiter):
        return None
    first = lines[0]
    if first.startswith(LFS.decode()):
        return str(lfs_pointer(where))
    if _WEB_PAGE.match(first):
        return f"{where}: is a web page or XML, not a table. Was a page downloaded in place of the file?"
    if _is_json(first):
        return f"{where}: holds JSON, and {suffix or 'such'} files are read as delimited text. Name it .jsonl or .json."
    if is_fasttext(lines):
        return (
            f"{where}: seems to be in fastText's format: its lines begin with labels, such as {shorten(first.strip(), 40)!r}. "
            "Leave --delimiter out; its columns are text and label."
        )
    used = _delimiter(config.delimiter) or DELIMITERS[suffix]
    table = _best_table(lines, used, config)
    if table is None:
        return None
    sentences, options = [], []
    headless = config.no_header or seems_headless(table.rows)
    if table.delimiter != used:
        otherwise = f"not by --delimiter {config.delimiter}" if config.delimiter else ""
        otherwise = otherwise or f"and {suffix} files are read as delimited by {NAMES[used]}s"
        top = "first line" if headless else "header"
        sentences.append(f"the {top} {shorten(first.strip())!r} looks delimited by {NAMES[table.delimiter]}s, {otherwise}.")
        options.append("--delimiter " + ("tab" if table.delimiter == "\t" else f'"{table.delimiter}"'))
    if config.no_header:
        cells = (f"{number} is {shorten(cell, 40)!r}" for number, cell in enumerate(table.rows[0][:_SHOWN], start=1))
        sentences.append(f"with --no-header true columns are named by number; in the first row {', '.join(cells)}.")
        options += _name_columns(table, config)
    elif headless:
        top = ", ".join(shorten(cell, 40) for cell in table.rows[0][:_SHOWN])
        sentences.append(f"the file seems to have no header, for its first row, {top!r}, looks like the rows below it.")
        options += ["--no-header true", *_name_columns(table, config)]
    if not options:
        return None
    first_sentence, *more = sentences
    return " ".join(
        [f"{where}: {first_sentence}", *(text[0].upper() + text[1:] for text in more), f"Pass {' '.join(options)}."]
    )


def _delimiter(option: str | None) -> str | None:
    return "\t" if option == "tab" else option


def _is_json(line: str) -> bool:
    text = line.strip()
    if text[:1] not in ("{", "["):
        return False
    try:
        return isinstance(parse_json(text), (dict, list))
    except ValueError:
        return False


def _best_table(lines: Sequence[str], used: str, config: SplitConfig) -> _Table | None:
    """The file as it is delimited: by `used`, unless another character gives columns with the names or looks of those asked."""
    tables = [table for delimiter in dict.fromkeys((used, *_GUESSED)) if (table := _try_delimiter(lines, delimiter))]
    wanted = {*TEXT_NAMES, *LABEL_NAMES, str(config.text_column).lower(), str(config.label_column).lower()}

    def rank(table: _Table) -> tuple[int, bool, bool, float, int]:
        names = len(wanted.intersection(cell.strip().lower() for cell in table.rows[0])) if table.width > 1 else 0
        text, label = table.guess_columns()
        return names, label is not None and text != label, table.delimiter == used, table.regularity, table.width

    return max((t for t in tables if t.delimiter == used or t.regularity >= _MOSTLY), key=rank, default=None)


def _try_delimiter(lines: Sequence[str], delimiter: str) -> _Table | None:
    for mark in ('"', "'", None):
        try:
            rows = list(parse_rows(iter(lines), delimiter, mark))
        except csv.Error:
            continue
        if rows and (mark is None or _Table(delimiter, rows).regularity >= _MOSTLY):
            return _Table(delimiter, rows)
    return None


def seems_headless(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is one of data: a value of it stands again below, or it holds a number above numbers.

    Not where a column has a usual name, nor where the names are those that pandas gives to nameless columns, 0, 1 and so on.
    """
    top = [cell.strip() for cell in rows[0]]
    below = [[cell.strip() for cell in row] for row in rows[1:] if len(row) == len(top)]
    usual = {*TEXT_NAMES, *LABEL_NAMES, "id"}
    if not below or any(cell.lower() in usual for cell in top):
        return False
    if [cell for cell in top if cell] == [str(number) for number in range(sum(map(bool, top)))]:
        return False
    for place, cell in enumerate(top):
        column = [row[place] for row in below]
        if cell and cell in column:
            return True
        if _NUMBER.fullmatch(cell) and all(map(_NUMBER.fullmatch, column)) and len(column) > 1:
            return True
    return False


def _name_columns(table: _Table, config: SplitConfig) -> list[str]:
    """The options that name text and label by number, as far as they were not given."""
    numbers = {str(number + 1) for number in range(table.width)} if config.no_header else set()
    text, label = table.guess_columns()
    options = [] if config.text_column in numbers else [f"--text-column {text + 1}"]
    return options if label is None or config.label_column in numbers else [*options, f"--label-column {label + 1}"]
