"""Read a sheet of a spreadsheet: Excel's .xlsx and .xlsm, and OpenDocument's .ods."""

from __future__ import annotations

import contextlib
import datetime
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.data.builder import CHUNK, Choose, TableBuilder
from pipeline.data.reading.delimited import find_place
from pipeline.data.reading.files import LFS, lfs_pointer, open_bytes
from pipeline.data.reading.sheet_extents import cell_name, check_extents
from pipeline.errors import DataError, enumerate_some, shorten

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

SPREADSHEETS = (".xlsx", ".xlsm", ".ods")
UNREAD_SPREADSHEETS = (".xls", ".xlsb", ".numbers")

_LOOKED_AT = 20  # rows below the first, one of which may be the header
_COMPOUND = b"\xd0\xcf\x11\xe0"
"""How files of Excel before 2007 begin, and those that a password protects."""

_Row = tuple[int, list[Any]]
"""A row of the sheet by its number, counted from 1, and its cells."""


def read_spreadsheet(
    path: Path, where: str, choose: Choose, header: bool = True, sheet: str | None = None
) -> dict[str, pa.ChunkedArray]:
    """The chosen columns of a sheet; rows without any value are passed over.

    A merged cell of Excel's stands in every row that it covers. A formula is its value when the file was saved; an error, such
    as `#N/A`, is a missing value.

    Args:
        header: Whether the first row names the columns; else they are called 1, 2 and so on.
        sheet: Its name, or its number counted from 1; None where one sheet alone holds anything and is not hidden.

    Raises:
        DataError: The file or the sheet cannot be read, which sheet is not said, or it holds no rows or not the columns.
    """
    with _reading(where):
        workbook = _open(path, where)
        cells = workbook.get_sheet_by_name(_choose_sheet(workbook, sheet, where))
        name = f"sheet {shorten(cells.name)!r}"
        rows = _filled_rows(cells)
        top = next(rows, None)
        if top is None:
            raise DataError(f"{where}: the {name} is empty. Name another one with --sheet.")
        columns = _names(top[1]) if header else [str(place + 1) for place in range(len(top[1]))]
        try:
            chosen = choose(columns)
            places = {column: find_place(f"{where}, {name}", columns, column) for column in chosen.names}
        except DataError as error:
            *others, last = error.messages
            raise DataError(*others, f"{last}{_advise(workbook, cells, top[0], rows, choose)}") from error
        left = cells.start[1] if cells.start else 0
        labelled = left + places.get(str(chosen.label), 0)
        builder = TableBuilder(chosen, where, lambda row: f"cell {cell_name(row - 1, labelled)} of {name}")
        rows = _fill_merged(itertools.chain([top], rows), cells, left, list(places.values()))
        if header:
            next(rows)
        empty = True
        while chunk := list(itertools.islice(rows, CHUNK)):
            empty = False
            read = {
                column: [builder.read_cell(column, _as_cell(row[place])) for _, row in chunk]
                for column, place in places.items()
            }
            builder.add(read, [number for number, _ in chunk])
        if empty:
            raise DataError(f"{where}: the {name} holds only a header and no rows below it.")
        return builder.finish()


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    """Within the block what the reader cannot read is an error of the input."""
    from python_calamine import CalamineError, PasswordError

    try:
        yield
    except PasswordError as error:
        raise DataError(f"{where}: is protected by a password. Save it without one.") from error
    except BaseException as error:
        if not isinstance(error, CalamineError) and type(error).__name__ != "PanicException":  # what Rust raises for a bug
            raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read as a spreadsheet ({reason}). Save it anew, or as CSV in UTF-8.") from error


def _open(path: Path, where: str) -> CalamineWorkbook:
    from python_calamine import CalamineWorkbook

    with open_bytes(path, where) as file:
        content = file.read()
    if content.startswith(LFS):
        raise lfs_pointer(where)
    if content.startswith(_COMPOUND):
        raise DataError(
            f"{where}: is protected by a password, or from Excel before 2007. Save it as .xlsx without a password, or as CSV."
        )
    if not content.startswith(b"PK"):
        raise DataError(f"{where}: is no spreadsheet, whatever its ending. If it is text, name it .csv or .tsv.")
    check_extents(io.BytesIO(content), len(content), where)
    return CalamineWorkbook.from_filelike(io.BytesIO(content))


def _choose_sheet(workbook: CalamineWorkbook, wanted: str | None, where: str) -> str:
    """The name of the sheet to read.

    Raises:
        DataError: There is none of that name, or several may be meant.
    """
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    sheets = [entry for entry in workbook.sheets_metadata if entry.typ == SheetTypeEnum.WorkSheet]
    names = [entry.name for entry in sheets]
    if wanted is not None:
        if wanted in names:
            return wanted
        if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
            return names[int(wanted) - 1]
        raise DataError(f"{where}: --sheet {shorten(wanted)}: no such sheet. Its sheets: {_listed(names)}.")
    visible = [entry.name for entry in sheets if entry.visible == SheetVisibleEnum.Visible] or names
    filled = [name for name in visible if workbook.get_sheet_by_name(name).height] if len(visible) > 1 else visible
    if len(filled) > 1:
        raise DataError(f"{where}: holds {len(filled)} sheets: {_listed(filled)}. Pass --sheet.")
    if not visible:
        raise DataError(f"{where}: holds no sheet of cells. Save the table as CSV in UTF-8.")
    return (filled or visible)[0]


def _listed(names: Sequence[str]) -> str:
    return enumerate_some([shorten(name, 40) for name in names], 8)


def _filled_rows(sheet: CalamineSheet) -> Iterator[_Row]:
    """The rows that hold anything. The reader gives every row from the sheet's first on, and of each the columns in use."""
    for number, row in enumerate(sheet.iter_rows(), start=1):
        if any(cell != "" for cell in row):
            yield number, list(row)


def _names(row: Sequence[Any]) -> list[str]:
    return [str(_as_cell(value)).strip() for value in row]


def _fill_merged(rows: Iterator[_Row], sheet: CalamineSheet, left: int, places: Sequence[int]) -> Iterator[_Row]:
    """Rows in which a merged cell stands wherever it covers one of these columns.

    Args:
        left: The column of the sheet that a row's first cell is in.
        places: Of cells in a row.
    """
    merged = sorted(sheet.merged_cell_ranges or (), reverse=True)
    below = {
        place: [(top + 1, bottom + 1, first - left) for (top, first), (bottom, last) in merged if first <= left + place <= last]
        for place in places
    }
    held: dict[int, tuple[int, Any]] = {}
    for number, row in rows:
        for place, ranges in below.items():
            while ranges and ranges[-1][0] <= number:
                top, bottom, source = ranges.pop()
                if top == number and 0 <= source < len(row):
                    held[place] = bottom, row[source]
            bottom, value = held.get(place, (0, None))
            if number <= bottom:
                row[place] = value
        yield number, row


def _as_cell(value: Any) -> Any:
    """A cell as a text, a number or a truth value: whole numbers without a fraction, points in time as ISO 8601 has them.

    An empty cell, and an error, is an empty text.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value) if isinstance(value, datetime.timedelta) else value


def _advise(workbook: CalamineWorkbook, sheet: CalamineSheet, top: int, rows: Iterator[_Row], choose: Choose) -> str:
    """Where the columns may be that were not found, as further sentences."""
    said = f" Row {top} of the sheet {shorten(sheet.name)!r} was taken for the header"
    for number, row in itertools.islice(rows, _LOOKED_AT):
        with contextlib.suppress(DataError):
            choose(_names(row))
            return f"{said}, and row {number} names them: delete the rows above it."
    others = [name for name in workbook.sheet_names if name != sheet.name]
    return f"{said}." + (f" Other sheets (--sheet): {_listed(others)}." if others else "")
