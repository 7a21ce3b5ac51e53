"""Cells that hold any number of labels: a JSON list, labels with a separator between them, or a column of 0 and 1 a label.

While data are read a set is a JSON list of names. A missing label is null, and is not a text without labels, which is `[]`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.data.labels import find_labels, scalar_as_text
from pipeline.errors import DataError, shorten

HIDDEN = "-1"
"""How Kaggle's test parts, and GLUE's, mark labels that are withheld."""

_GIVEN = {"1": True, "1.0": True, "True": True, "true": True, "TRUE": True}
_NOT_GIVEN = {"0": False, "0.0": False, "False": False, "false": False, "FALSE": False}
_FLAGS = _GIVEN | _NOT_GIVEN


@dataclass(frozen=True)
class LabelSets:
    """That a cell holds any number of labels, and how."""

    separator: str | None = None
    """Stands between labels; cells hold JSON lists, or one label, if None."""

    def read(self, cell: Any) -> str | None:
        """The labels as a JSON list, each once, in the order of their names; None where the label is missing.

        Raises:
            NoLabelError: The cell holds something else, such as spans of text.
        """
        if cell is None or (not isinstance(cell, (str, list, tuple, Mapping)) and _is_missing(cell)):
            return None
        if self.separator and isinstance(cell, str):
            separator = "\t" if self.separator == "tab" else self.separator
            labels = [label.strip() for label in cell.split(separator)]
        else:
            labels = [label.strip() for label in find_labels(cell)]
        return write_set(label for label in labels if label)


def write_set(labels: Any) -> str:
    """Names of labels as a JSON list."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def _is_missing(cell: Any) -> bool:
    if getattr(cell, "ndim", 0):
        return False
    try:
        return scalar_as_text(cell) is None
    except TypeError:
        return False


def join_columns(columns: Mapping[str, pa.ChunkedArray], where: str) -> pa.ChunkedArray:
    """Columns of 0 and 1 as sets of their names; missing where one of them is empty, `["-1"]` where one of them is -1.

    Raises:
        DataError: A cell holds something else.
    """
    read = {name: column.to_pylist() for name, column in columns.items()}
    for name, cells in read.items():
        for row, cell in enumerate(cells, start=1):
            if cell is not None and cell.strip() not in (*_FLAGS, HIDDEN, f"{HIDDEN}.0", ""):
                raise DataError(
                    f"{where}: row {row:,} of the data: {shorten(name)!r} holds {shorten(cell)!r}, and --label-columns names "
                    "columns of 0 and 1. Leave the column out; or name one column with --label-column."
                )
    names = list(read)
    rows = zip(*read.values(), strict=True)
    return pa.chunked_array([pa.array([_join(names, cells) for cells in rows], pa.large_string())])


def _join(names: list[str], cells: tuple[str | None, ...]) -> str | None:
    said = [(cell or "").strip() for cell in cells]
    if "" in said:
        return None
    if any(cell not in _FLAGS for cell in said):
        return write_set([HIDDEN])
    return write_set(name for name, cell in zip(names, said, strict=True) if _FLAGS[cell])
