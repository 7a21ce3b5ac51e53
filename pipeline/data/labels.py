"""Labels as annotation tools write them: answers, lists, nested records, several in one row; and cells of any type as text.

Prodigy's `answer` is accept, reject or ignore: a rejected example shows that its label is wrong, not what is right. Argilla
marks records that were discarded.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import DataError, has_surrogate, shorten

ANSWER = "answer"
_PRODIGY = frozenset({"accept", "reject", "ignore"})
_ARGILLA = frozenset({"pending", "draft", "submitted", "completed", "discarded", "default", "edited", "validated"})
_NO_ANSWER = "?"
_REASONS = {"reject": "rejected annotation", "ignore": "ignored annotation", "discarded": "discarded annotation"}

# Where records keep a label: Label Studio's choices, doccano's annotations and classifiers' outputs, Argilla's responses.
_KEYS = ("choices", "label", "labels", "value")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_NUMPY_TEXTS = re.compile(rf"\[\s*(?:{_QUOTED.pattern})(?:\s+(?:{_QUOTED.pattern}))+\s*\]")
_NUMPY_NUMBERS = re.compile(r"\[\s*[-+.\deE]+(?:\s+[-+.\deE]+)+\s*\]")
_STRUCTURE = re.compile(r"[\[{]\s*[\[{]?\s*u?[\"']")
_SEPARATORS = re.compile(r"[,;|#]")
_WHOLE = re.compile(r"\d+", re.ASCII)


def find_answer_column(columns: Sequence[str], label: str) -> str | None:
    """The column that may say whether a row's label was accepted; what it does hold is known when it is read.

    Args:
        label: The column of the labels.
    """
    if ANSWER in columns:
        return ANSWER
    if f"{label}.status" in columns:  # Argilla 2: a list of statuses beside a list of responses
        return f"{label}.status"
    return "status" if {"annotation", "prediction", "status"} <= set(columns) else None  # Argilla 1


def read_answer(cell: Any) -> str | None:
    """The word that a cell holds; of several responses the one that was not left out, if there is one."""
    if isinstance(cell, str) and cell.startswith("["):
        try:
            cell = ast.literal_eval(cell)
        except (ValueError, SyntaxError):
            return _NO_ANSWER
    words = cell if isinstance(cell, list) else [cell]
    if not all(isinstance(word, str) or word is None for word in words):
        return _NO_ANSWER
    read = [word.strip().lower() for word in words if word and not has_surrogate(word)]
    return next((word for word in read if not is_left_out(word)), read[0] if read else None)


def are_answers(values: Collection[str | None]) -> bool:
    """Whether values are nothing but a tool's words for accepted, rejected and skipped."""
    words = {value for value in values if value}
    return words <= _PRODIGY or words <= _ARGILLA


def is_left_out(answer: str | None) -> bool:
    """Whether an annotation was rejected or skipped."""
    return answer in _REASONS


def leave_out(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """A part without the rows whose annotation was rejected or skipped, and how many these were, by reason."""
    if ANSWER not in table:
        return table, {}
    answers = table[ANSWER]
    dropped = {reason: int((answers == word).sum()) for word, reason in _REASONS.items()}
    kept: NDArray[np.bool_] = ~answers.isin(list(_REASONS)).to_numpy(bool)
    return table[kept].drop(columns=[ANSWER]).reset_index(drop=True), {name: n for name, n in dropped.items() if n}


def is_nested_argilla(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of Argilla's own JSON, which does not say which responses were discarded."""
    return all(isinstance(record.get(name), dict) for name in ("fields", "responses", "suggestions"))


def as_row(record: dict[str, Any]) -> dict[str, Any]:
    """A task of Label Studio's full export as a row: its data, and a list of choices under each control's name.

    Skipped annotations are not counted; where all were skipped, the row is. Any other record stays as it is.
    """
    annotations = record.get("annotations", record.get("completions"))
    if not isinstance(record.get("data"), dict) or not isinstance(annotations, list):
        return record
    made = [item for item in annotations if isinstance(item, dict)]
    finished = [item for item in made if not (item.get("was_cancelled") or item.get("skipped"))]
    chosen: dict[str, list[Any]] = {}
    for annotation in finished:
        for control, choices in _choices(annotation):
            chosen.setdefault(control, []).extend(choices)
    row: dict[str, Any] = record["data"] | chosen
    if made and not finished:
        row[ANSWER] = "ignore"
    return row


def _choices(annotation: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    results = annotation.get("result")
    for result in results if isinstance(results, list) else ():
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict) and isinstance(value.get("choices"), list):
            yield str(result.get("from_name")), value["choices"]


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


def _parse(text: str) -> Any:
    """What a text stands for that begins as a list or a record does; the text itself where it is just a text in brackets.

    Raises:
        NoLabelError: It is a list or a record that is cut short or damaged.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
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
