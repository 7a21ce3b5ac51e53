"""What a cell of the label column says: the only place that knows how labels are written in one.

A cell holds a class or a number; or a list of labels, as annotation tools export it; or a record with a list in it; or either
of these as JSON, or as Python prints it, in a cell of text. A list of one is that label, an empty one is a missing label, and
several labels are refused: a text has one class.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pipeline.data.cells import scalar_as_text
from pipeline.errors import shorten

# Where records keep a label: Label Studio's choices, doccano's annotations and classifiers' outputs, Argilla's responses.
_KEYS = ("choices", "label", "labels", "value")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_NUMPY_TEXTS = re.compile(rf"\[\s*(?:{_QUOTED.pattern})(?:\s+(?:{_QUOTED.pattern}))+\s*\]")
_NUMPY_NUMBERS = re.compile(r"\[\s*[-+.\deE]+(?:\s+[-+.\deE]+)+\s*\]")
_STRUCTURE = re.compile(r"[\[{]\s*[\[{]?\s*u?[\"']")
_SEPARATORS = re.compile(r"[,;|#]")
_WHOLE = re.compile(r"\d+", re.ASCII)


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
    parts = {label: found for label in labels if (found := parts_of(label))}
    alone = {label for label in labels if label not in parts}
    numbers = all(map(_WHOLE.fullmatch, alone))
    certain = {
        label: found
        for label, found in parts.items()
        if alone.issuperset(found) or (alone and numbers and all(map(_WHOLE.fullmatch, found)))
    }
    counts: dict[str, int] = {}
    for found in parts.values():
        for part in set(found):
            counts[part] = counts.get(part, 0) + 1
    possible = {
        label: found
        for label, found in parts.items()
        if label not in certain and any(part in alone or counts[part] > 1 for part in found)
    }
    return certain, possible
