"""Labels as annotation tools write them: lists, nested records, several in one row; and cells of any type as text."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError, has_surrogate, shorten
from pipeline.json_text import parse_json

# Where records keep a label: Label Studio's choices, doccano's annotations and classifiers' outputs, Argilla's responses.
_KEYS = ("choices", "label", "labels", "value", "rating", "number")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_NUMPY_TEXTS = re.compile(rf"\[\s*(?:{_QUOTED.pattern})(?:\s+(?:{_QUOTED.pattern}))+\s*\]")
_NUMPY_NUMBERS = re.compile(r"\[\s*[-+.\deE]+(?:\s+[-+.\deE]+)+\s*\]")
_STRUCTURE = re.compile(r"[\[{]\s*[\[{]?\s*u?[\"']")
_SEPARATORS = re.compile(r"[,;|#]")
_WHOLE = re.compile(r"\d+", re.ASCII)


def as_series(column: pa.ChunkedArray) -> pd.Series[str]:
    """A pandas column that keeps its texts in Arrow."""
    return pd.Series(pd.StringDtype("pyarrow", na_value=float("nan")).__from_arrow__(column))  # type: ignore[attr-defined]


def as_texts(column: pa.ChunkedArray | pa.Array, where: str, name: str) -> pa.ChunkedArray:
    """A column of texts, numbers or truth values as texts, `True` and `False` as Python writes them; NaN is missing.

    Raises:
        DataError: It holds lists, records or bytes that are not UTF-8.
    """
    column = without_wrapping(column)
    kind = column.type
    try:
        if pa.types.is_nested(kind):
            raise DataError(f"{where}: column {shorten(name)!r} holds {kind}, not a text or a class. Name another column.")
        if pa.types.is_boolean(kind):
            column = pc.if_else(column, pa.scalar("True", pa.large_string()), pa.scalar("False", pa.large_string()))
        elif pa.types.is_floating(kind):
            numbers = column.cast(pa.float64()) if pa.types.is_float16(kind) else column
            column = pc.if_else(pc.is_nan(numbers), pa.scalar(None, numbers.type), numbers)
        texts = column.cast(pa.large_string())
        texts.validate(full=True)
    except (pa.ArrowException, ValueError) as error:
        raise _no_texts(error, where, name) from error
    return texts


def without_wrapping(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """A column in chunks whose type is that of its values: no extension type, no dictionary."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _no_texts(error: Exception, where: str, name: str) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{where}: column {shorten(name)!r} cannot be read as text ({reason}). Name another column.")


def scalars_as_texts(values: Sequence[Any], where: str, name: str, rows: Sequence[int] | None = None) -> pa.Array:
    """The same for Python values, such as those that JSON holds.

    Args:
        rows: The number of each value's row, for messages; counted from 1 if not given.
    """
    texts = []
    for index, value in enumerate(values):
        try:
            texts.append(scalar_as_text(value))
        except TypeError as error:
            row = rows[index] if rows else index + 1
            raise DataError(
                f"{where}: row {row}: {shorten(name)!r} holds a {type(value).__name__}, not a text or a class. "
                "Name another column."
            ) from error
    return text_array(texts, where, name, rows)


def scalar_as_text(value: Any) -> str | None:
    """A text, number or truth value as text; None where it is missing or empty.

    Raises:
        TypeError: It is something else.
    """
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value or None
    if isinstance(value, (int, float, Decimal)) or (hasattr(value, "dtype") and getattr(value, "ndim", 0) == 0):
        return str(value.item() if hasattr(value, "item") else value)
    raise TypeError


def text_array(texts: list[str | None], where: str, name: str, rows: Sequence[int] | None) -> pa.Array:
    """Texts in Arrow.

    Raises:
        DataError: One holds half of a surrogate pair.
    """
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError as error:
        index = next(index for index, text in enumerate(texts) if text and has_surrogate(text))
        row = rows[index] if rows else index + 1
        raise DataError(
            f"{where}: row {row}: {shorten(name)!r} holds half of a surrogate pair, which is no character. "
            "Write the text in UTF-8."
        ) from error


class SeveralLabelsError(ValueError):
    """A cell holds more than one label."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Keep the labels."""
        super().__init__(f"{len(labels)} labels")
        self.labels = tuple(labels)


class NoLabelError(ValueError):
    """A cell holds something that is no label; the message says what, after "holds"."""


def read_label(cell: Any) -> str | None:
    """The label that a cell holds as text; None where it holds none.

    Raises:
        SeveralLabelsError: It holds several different ones.
        NoLabelError: It holds something else, such as spans of text.
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text[:1] not in ("[", "{"):
            return cell or None
        cell = _parse(text)
        if isinstance(cell, str):
            return cell
    labels = list(dict.fromkeys(_labels_in(cell, depth=0)))
    if len(labels) > 1:
        raise SeveralLabelsError(labels)
    return labels[0] if labels else None


def find_labels(cell: Any) -> list[str]:
    """All labels that a cell holds, as text.

    Raises:
        NoLabelError: It holds something else, such as spans of text.
    """
    if isinstance(cell, str):
        cell = _parse(cell.strip()) if cell.strip()[:1] in ("[", "{") else cell
    return list(_labels_in(cell, depth=0))


def as_list(cell: Any) -> list[Any] | None:
    """The items of a list, also of one written as JSON or Python in a text; None of anything else."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        with contextlib.suppress(NoLabelError):
            cell = _parse(cell.strip())
    return list(cell) if isinstance(cell, (list, tuple)) or getattr(cell, "ndim", 0) == 1 else None


def _parse(text: str) -> Any:
    """What a text stands for that begins as a list or a record does; the text itself where it is just a text in brackets.

    Raises:
        NoLabelError: It is a list or a record that is cut short or damaged.
    """
    try:
        return parse_json(text)
    except ValueError:
        pass
    # numpy prints no commas: Python would take ['a' 'b'] for the one text 'ab'.
    if _NUMPY_TEXTS.fullmatch(text):
        return [single or double for single, double in _QUOTED.findall(text)]
    if _NUMPY_NUMBERS.fullmatch(text):
        return text.strip("[]").split()
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        if _STRUCTURE.match(text):
            raise NoLabelError(f"{shorten(text)}, which looks like JSON and cannot be read as such") from None
        return text
    return sorted(value) if isinstance(value, set) else value


def _labels_in(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _labels_of_record(value)
    elif isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1:
        if depth:
            raise NoLabelError("lists within a list, such as marked spans of the text")
        for item in value:
            yield from _labels_in(item, depth + 1)
    else:
        try:
            label = scalar_as_text(value)
        except TypeError as error:
            raise NoLabelError(f"a {type(value).__name__}") from error
        if label is not None and label.strip():
            yield label


def _labels_of_record(record: Mapping[Any, Any]) -> Iterator[str]:
    if not record or record.get("status") == "discarded":
        return
    if {"start", "end"} <= set(record) or {"start_offset", "end_offset"} <= set(record):
        raise NoLabelError("marked spans of the text")
    key = next((key for key in _KEYS if key in record), None)
    if key is not None:
        yield from _labels_in(record[key], depth=0)
    elif len(record) > 1 and all(_is_zero_or_one(value) for value in record.values()):  # spaCy's cats, one-hot
        yield from (str(name) for name, value in record.items() if value)
    else:
        raise NoLabelError(f"the record {shorten(json.dumps(record, ensure_ascii=False, default=str))}")


def _is_zero_or_one(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) and not math.isnan(value) and value in (0, 1)


def parts_of(label: str) -> list[str]:
    """The texts that a label holds between commas, semicolons, bars or number signs; empty where there are none, or one."""
    parts = [part.strip() for part in _SEPARATORS.split(label)]
    return parts if len(parts) > 1 and all(parts) else []


def find_joined(labels: Collection[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Labels that seem to be several in one cell, such as `2,10` beside `2` and `10`, each with its parts.

    Returns:
        Those that must be: each part stands by itself elsewhere, or all labels and parts are whole numbers. And those that may
        be: a part of theirs stands by itself, or in another label of several parts.
    """
    parts = {label: pieces for label in labels if (pieces := parts_of(label))}
    alone = {label for label in labels if label not in parts}
    numbers = all(map(_WHOLE.fullmatch, alone))
    certain = {
        label: pieces
        for label, pieces in parts.items()
        if alone.issuperset(pieces) or (alone and numbers and all(map(_WHOLE.fullmatch, pieces)))
    }
    counts: dict[str, int] = {}
    for pieces in parts.values():
        for part in set(pieces):
            counts[part] = counts.get(part, 0) + 1
    possible = {
        label: pieces
        for label, pieces in parts.items()
        if label not in certain and any(part in alone or counts[part] > 1 for part in pieces)
    }
    return certain, possible
