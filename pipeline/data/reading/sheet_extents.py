"""How far the cells of a spreadsheet reach, measured before it is read.

The reader of spreadsheets keeps a sheet as a whole rectangle, from its first to its last cell, and where memory does not
suffice for it the process ends. So each sheet is streamed through an XML parser first.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO
from xml.parsers import expat

from pipeline.data.reading.files import UnpackedBytes, open_archive, open_member
from pipeline.errors import DataError, shorten

MOST_CELLS = 2**24
"""Cells that a sheet may span, empty ones included: a gigabyte in the reader's memory."""

_BLOCK = 2**16
_REFERENCE = re.compile(r"([A-Z]{1,6})([0-9]{1,12})", re.ASCII)
_VALUES = frozenset({"v", "is", "t", "f"})
_ODS_CONTENT = "content.xml"


@dataclass
class _Rectangle:
    """The cells with a value, as far as they were seen; rows and columns count from 0."""

    name: str
    top: int = 2**62
    left: int = 2**62
    bottom: int = -1
    right: int = -1

    def add(self, top: int, left: int, bottom: int, right: int, where: str) -> None:
        """Take cells in.

        Raises:
            DataError: The sheet spans too many cells with them.
        """
        self.top, self.left = min(self.top, top), min(self.left, left)
        self.bottom, self.right = max(self.bottom, bottom), max(self.right, right)
        cells = (self.bottom - self.top + 1) * (self.right - self.left + 1)
        if cells > MOST_CELLS:
            raise DataError(
                f"{where}: {self.name} reaches to cell {cell_name(self.bottom, self.right)}, over {cells:,} cells, and at most "
                f"{MOST_CELLS:,} are read. Delete what stands far from the table, or save the sheet as CSV in UTF-8."
            )


def cell_name(row: int, column: int) -> str:
    """What a spreadsheet calls a cell, such as B7; row and column count from 0."""
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{row + 1}"


def check_extents(file: IO[bytes], packed: int, where: str) -> None:
    """Refuse a spreadsheet whose sheets would not fit into memory.

    Args:
        file: An xlsx or ods file; its position is not kept.
        packed: Its size in bytes.

    Raises:
        DataError: A sheet spans too many cells, the file unpacks to more than it may, or is damaged.
    """
    try:
        with open_archive(file) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise DataError(f"{where}: holds two parts of one name, so it is no whole spreadsheet. Save it anew.")
            budget = UnpackedBytes(where, packed)
            for name in names:
                if name.lower().endswith((".xml", ".rels")):
                    _measure(_blocks(archive, name, budget), name, where)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read as a spreadsheet ({reason}). Is the file whole?") from error


def _blocks(archive: zipfile.ZipFile, name: str, budget: UnpackedBytes) -> Iterator[bytes]:
    with open_member(archive, name) as part:
        while block := part.read(_BLOCK):
            budget.add(len(block))
            yield block


def _measure(blocks: Iterator[bytes], name: str, where: str) -> None:
    parser = expat.ParserCreate()
    start = _ods_handler(where) if name == _ODS_CONTENT else _xlsx_handler(name, where)

    def begin(tag: str, attributes: dict[str, str]) -> None:
        start(tag.rpartition(":")[2], {key.rpartition(":")[2]: value for key, value in attributes.items()})

    parser.StartElementHandler = begin
    try:
        for block in blocks:
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as error:
        raise DataError(f"{where}: its part {shorten(name)} cannot be read ({error}). Save the spreadsheet anew.") from error


_Handler = Callable[[str, dict[str, str]], None]


def _xlsx_handler(part: str, where: str) -> _Handler:
    """Looks at the cells of a worksheet of Excel; cells and rows without a reference follow the ones before."""
    sheet = _Rectangle(f"the sheet {shorten(part)}")
    row = column = -1
    is_worksheet: bool | None = None

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal row, column, is_worksheet
        if is_worksheet is None:
            is_worksheet = tag == "worksheet"
        if not is_worksheet:
            return
        if tag == "row":
            row, column = int(attributes.get("r", row + 2)) - 1, -1
        elif tag == "c":
            column += 1
            if "r" in attributes:
                row, column = _read_reference(attributes["r"])
        elif tag in _VALUES and column >= 0:
            sheet.add(row, column, row, column, where)

    return start


def _read_reference(name: str) -> tuple[int, int]:
    """Row and column of a cell, as it is called; counted from 0.

    Raises:
        ValueError: No program calls a cell so. The reader may make something of it all the same, so it is not passed over.
    """
    match = _REFERENCE.fullmatch(name)
    if match is None:
        raise ValueError(f"{shorten(name)!r} is no cell")
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(match[2]) - 1, column - 1


def _ods_handler(where: str) -> _Handler:
    """Looks at the cells of OpenDocument's sheets, where rows and cells say how often they are repeated."""
    sheet = _Rectangle("a sheet")
    top = rows = left = columns = 0
    next_row = next_column = 0

    def take() -> None:
        sheet.add(top, left, top + rows - 1, left + columns - 1, where)

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal sheet, top, rows, left, columns, next_row, next_column
        if tag == "table":
            sheet = _Rectangle(f"the sheet {shorten(attributes.get('name', ''))!r}")
            next_row = 0
        elif tag == "table-row":
            top, rows = next_row, int(attributes.get("number-rows-repeated", 1))
            next_row, next_column = top + rows, 0
        elif tag in ("table-cell", "covered-table-cell"):
            left, columns = next_column, int(attributes.get("number-columns-repeated", 1))
            next_column = left + columns
            if "value-type" in attributes or "formula" in attributes:
                take()
        elif tag == "p" and rows and columns:
            take()

    return start
