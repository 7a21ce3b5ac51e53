"""Texts and labels made ready: missing ones dropped and counted, labels turned into class numbers."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.data.sources import GROUP, LABEL, TEXT, SourceTables
from pipeline.errors import DataError

_HIDDEN = "-1"  # how GLUE and the hub mark labels that are withheld


@dataclass(frozen=True)
class CleanTables:
    """Parts whose `text` is a stripped, non-empty text and whose `label` is the index of its class."""

    parts: dict[str, pd.DataFrame]
    classes: tuple[str, ...]
    dropped: dict[str, int]
    """Rows left out, by reason."""


def clean(tables: SourceTables, where: str) -> CleanTables:
    """Drop rows without text or label and number the classes.

    Class names are the source's where it has them; else the labels as written, numbers in order of value.

    Raises:
        DataError: Nothing is left, there are fewer than two classes, or a label lies outside the source's classes.
    """
    dropped = {"missing text": 0, "missing label": 0, "hidden label": 0}
    parts = {}
    labels_of = {part: table[LABEL].map(_as_text) for part, table in tables.parts.items()}
    is_class = tables.classes is None and any((label == _HIDDEN).any() for part, label in labels_of.items() if part != "test")
    for part, table in tables.parts.items():
        text = table[TEXT].map(lambda value: value.strip() if isinstance(value, str) else "")
        label = labels_of[part]
        no_text = text == ""
        no_label = ~no_text & (label == "")
        hidden = ~no_text & (label == _HIDDEN) & (tables.classes is not None or (part == "test" and not is_class))
        dropped["missing text"] += int(no_text.sum())
        dropped["missing label"] += int(no_label.sum())
        dropped["hidden label"] += int(hidden.sum())
        kept = ~(no_text | no_label | hidden)
        if kept.any():
            group = {GROUP: table[GROUP][kept]} if GROUP in table else {}
            parts[part] = pd.DataFrame({TEXT: text[kept], LABEL: label[kept], **group}).reset_index(drop=True)
    if not parts:
        raise DataError(f"{where}: no row has both a text and a label. Check --text-column and --label-column.")
    labels = pd.concat([part[LABEL] for part in parts.values()]).unique().tolist()
    classes, number = _number_classes(labels, tables.classes, where)
    if len({number[label] for label in labels}) < 2:
        raise DataError(f"{where}: every row has the label {labels[0]!r}. Classification needs two classes or more.")
    for table in parts.values():
        table[LABEL] = table[LABEL].map(number).astype("int64")
    return CleanTables(parts, classes, dropped)


def _number_classes(labels: list[str], named: tuple[str, ...] | None, where: str) -> tuple[tuple[str, ...], dict[str, int]]:
    if named is None:
        ordered = sorted(labels, key=_by_value)
        return tuple(ordered), {label: index for index, label in enumerate(ordered)}
    by_index = {str(index): index for index in range(len(named))}
    if set(labels) <= set(by_index):  # not mixed with the names, for those may be numbers as well, such as 1 and 2
        return named, by_index
    number = {name: index for index, name in enumerate(named)}
    strange = sorted(set(labels) - set(number), key=lambda label: (label in by_index, label))
    if strange:
        raise DataError(f"{where}: label {strange[0]!r} is none of the classes {', '.join(named)}.")
    return named, number


def _as_text(label: Any) -> str:
    """A column of whole numbers that lacks some comes as floats: 1.0 is the label 1."""
    if pd.isna(label):
        return ""
    return str(int(label) if isinstance(label, float) and label.is_integer() else label).strip()


def _by_value(label: str) -> tuple[bool, float, str]:
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    return (False, value, label) if math.isfinite(value) else (True, 0.0, label)
