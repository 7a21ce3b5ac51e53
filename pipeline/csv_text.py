r"""Tables as CSV that a spreadsheet shows and does not compute.

Excel, LibreOffice and Google Sheets take a cell for a formula by its first character, quoted or not. A formula in a review can
fetch an address with what stands beside it, or offer to start a program. So a text that begins like one gets an apostrophe in
front, as OWASP advises ("CSV injection"). Which are changed, and back, is one rule, so what is read is what was written.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = r"'*[=+\-@\t\r\n＝＋－＠]"
"""How a formula begins, the full-width signs of East Asian keyboards too; behind apostrophes, so that these come back."""
_BARE = re.compile(_FORMULA)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
"""A class may be called -1: a number is no formula."""

GUARDED, BARE = f"^'({_FORMULA})", r"\1"
"""A guarded cell, and what it is replaced by; for a library that does so in whole columns (RE2), too."""


def guard(text: str) -> str:
    """The text as a cell, with an apostrophe in front of what a spreadsheet would compute."""
    return f"'{text}" if _BARE.match(text) and not _NUMBER.fullmatch(text) else text


def unguard(cell: str) -> str:
    """The text that `guard` made a cell of."""
    return re.sub(GUARDED, BARE, cell, count=1)


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its texts as cells, headings included; numbers stay numbers."""
    table = table.copy()
    for name in table:
        if table[name].dtype.kind not in "biufc":
            table[name] = table[name].map(_cell)
    return table.rename(columns=_cell)


def write_csv(table: pd.DataFrame) -> str:
    r"""The table as CSV, lines ended by `\n`. A field that holds any line end is quoted, a lone `\r` too."""
    return write_rows(table, zip(*(table[name].tolist() for name in table), strict=True))


def write_rows(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """The same of rows of texts and numbers."""
    return as_lines([header, *rows])


def as_lines(rows: Iterable[Iterable[object]]) -> str:
    """Some lines of such a table."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")  # Python 3.11 quotes for line ends that are among these only
    writer.writerows(map(_cell, row) for row in rows)
    return lines.text.getvalue()


def _cell(value: object) -> object:
    return guard(value) if isinstance(value, str) else value


class _Lines:
    """Takes what a CSV writer writes, a row at a time."""

    def __init__(self) -> None:
        self.text = io.StringIO(newline="")

    def write(self, row: str) -> int:
        return self.text.write(row.removesuffix("\r\n") + "\n")
