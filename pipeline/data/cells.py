"""Values of a table's cells as texts in Arrow: a text takes its bytes and no Python object, so millions of rows fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError, shorten
from pipeline.surrogates import has_surrogate


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
