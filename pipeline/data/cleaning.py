"""Texts and labels made ready: missing ones dropped and counted, labels turned into class numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.annotations.answers import leave_out
from pipeline.data.columns import LABEL, PAIR, TEXT
from pipeline.data.labels import as_series, as_texts, find_joined, scalars_as_texts
from pipeline.data.source import SourceTables
from pipeline.errors import DataError, enumerate_some, shorten

_HIDDEN = "-1"  # how GLUE and the hub mark labels that are withheld
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))  # what str.strip takes; none stands beyond
_NOTED = 3  # classes that notes name
_ENOUGH_ROWS = 20  # to tell a column of ids or scores from one of classes


@dataclass(frozen=True)
class CleanTables:
    """Parts whose `text` is a stripped, non-empty text and whose `label` is the index of its class."""

    parts: dict[str, pd.DataFrame]
    classes: tuple[str, ...]
    dropped: dict[str, int]
    """Rows left out, by reason."""
    unlabelled: tuple[str, ...] = ()
    """Parts that are left out because every label is hidden or there is no label column."""
    notes: list[str] = field(default_factory=list)
    """What is odd about the labels, in sentences."""


@dataclass(frozen=True)
class LabelCodes:
    """Labels of a part as numbers: row i has the label `names[codes[i]]`, `''` where there is none."""

    codes: NDArray[np.int64]
    names: list[str]

    def marks(self, wanted: Iterable[str]) -> NDArray[np.bool_]:
        """Which rows have one of these labels."""
        chosen = set(wanted)
        marks: NDArray[np.bool_] = np.array([name in chosen for name in self.names], bool)[self.codes]
        return marks


def clean(tables: SourceTables, where: str, labels: Sequence[str] = (), known: Collection[str] | None = None) -> CleanTables:
    """Drop rows without text or label and number the classes.

    Class names are those of `labels` where given, in that order; else the source's where it has them; else the labels as
    written, numbers in order of value, others by alphabet.

    Args:
        labels: What `--labels` says; empty if it was not given.
        known: The classes of the model that is to be asked, if there is one. The labels may then be one class alone, or many
            in few rows, and -1 is a class where it is one of these.

    Raises:
        DataError: Nothing is left, there are fewer than two classes, labels are no classes but measures or ids, or a label
            lies outside the given or the source's classes.
    """
    listed = check_listed(labels)
    tables, left_out = leave_out_rejected(tables)
    named, expected = name_classes(tables, listed, known)
    encoded = {part: encode_labels(table[LABEL], where, part) for part, table in tables.parts.items()}
    columns = _canonical(encoded, expected, where)
    shown = any(_HIDDEN in column.names for part, column in columns.items() if part != "test")
    is_known = _HIDDEN in listed or (not named and _HIDDEN in expected)
    is_class = is_known or (not named and shown)
    dropped = {"missing text": 0, "missing label": 0, "hidden label": 0}
    parts, kept_columns, unlabelled = {}, {}, list(tables.unlabelled)
    for part, table in tables.parts.items():
        texts, no_text = strip_texts(table, where)
        column = columns[part]
        no_label = ~no_text & column.marks([""])
        hidden = ~no_text & column.marks([_HIDDEN]) & (not is_class and (named or part == "test"))
        for reason, rows in zip(dropped, (no_text, no_label, hidden), strict=True):
            dropped[reason] += int(rows.sum())
        kept = ~(no_text | no_label | hidden)
        if kept.any():
            parts[part] = keep_rows(table, texts, {LABEL: column.codes}, kept)
            kept_columns[part] = column
        elif hidden.any():
            unlabelled.append(part)
    dropped = left_out | dropped
    label_names = sorted({columns[part].names[code] for part, table in parts.items() for code in np.unique(table[LABEL])})
    if not parts or (label_names == [_HIDDEN] and not is_known):
        if dropped["hidden label"] or label_names:
            raise DataError(f"{where}: every label is -1, which marks labels that are hidden. Get the data with their labels.")
        others = f" of those whose annotation was accepted ({sum(left_out.values()):,} were not)" if left_out else ""
        raise DataError(f"{where}: no row{others} has both a text and a label. Check --text-column and --label-column.")
    notes = []
    if not named and known is None:
        notes = _note_joined(label_names, {part: columns[part] for part in parts}, where)
        check_are_classes(label_names, sum(map(len, parts.values())), where)
    classes, number = number_classes(label_names, tables.classes, listed, where)
    if known is None and len({number[label] for label in label_names}) < 2:
        raise DataError(f"{where}: every row has the label {label_names[0]!r}. Classification needs two classes or more.")
    for part, table in parts.items():
        numbers = np.array([number.get(name, -1) for name in kept_columns[part].names], np.int64)
        table[LABEL] = numbers[table[LABEL].to_numpy()]
    return CleanTables(parts, classes, dropped, tuple(unlabelled), notes)


def name_classes(tables: SourceTables, listed: Sequence[str], known: Collection[str] | None) -> tuple[bool, frozenset[str]]:
    """Whether the data name their classes or `--labels` does, and which names are expected: those, else the model's."""
    named = bool(listed) or tables.classes is not None
    return named, frozenset([*listed, *(tables.classes or ())] if named else known or ())


def leave_out_rejected(tables: SourceTables) -> tuple[SourceTables, dict[str, int]]:
    """The tables without the rows whose annotation was rejected or skipped, and how many these were, by reason."""
    parts, dropped = {}, Counter[str]()
    for part, table in tables.parts.items():
        parts[part], counts = leave_out(table)
        dropped.update(counts)
    return replace(tables, parts=parts), dict(dropped)


def strip_texts(table: pd.DataFrame, where: str) -> tuple[dict[str, pa.ChunkedArray], NDArray[np.bool_]]:
    """The texts of a part without spaces around them, by column, and the rows in which one is missing or empty."""
    texts = {
        name: pc.utf8_trim(pc.fill_null(_as_arrow(table[name], where, name), ""), characters=_SPACES)
        for name in (TEXT, PAIR)
        if name in table
    }
    empty = [pc.equal(text, "").to_numpy(zero_copy_only=False) for text in texts.values()]
    return texts, np.logical_or.reduce(empty)


def keep_rows(
    table: pd.DataFrame,
    texts: Mapping[str, pa.ChunkedArray],
    labels: Mapping[str, NDArray[np.int64] | NDArray[np.float64]],
    kept: NDArray[np.bool_],
) -> pd.DataFrame:
    """A part with its stripped texts, its labels and whatever else it has, of the rows that are kept."""
    columns: dict[str, Any] = {
        name: as_series(_in_one(text if kept.all() else text.filter(pa.array(kept)))) for name, text in texts.items()
    }
    columns |= {name: column[kept] for name, column in labels.items()}
    others = table.drop(columns=[*texts, LABEL])
    columns |= {str(name): others[name][kept].reset_index(drop=True) for name in others}
    return pd.DataFrame(columns)


def label_texts(column: pd.Series, where: str, part: str) -> pa.ChunkedArray:
    """The labels of a part as texts without spaces around them; empty where there is none."""
    return pc.utf8_trim(pc.fill_null(_as_arrow(column, where, f"{LABEL} ({part})"), ""), characters=_SPACES)


def check_listed(labels: Sequence[str]) -> tuple[str, ...]:
    """What `--labels` says.

    Raises:
        DataError: A class stands twice there, or alone.
    """
    listed = tuple(labels)
    if not listed:
        return ()
    twice = sorted({label for label in listed if listed.count(label) > 1})
    if twice:
        raise DataError(f"--labels: {twice[0]!r} stands twice in {','.join(listed)}. Name each class once.")
    if len(listed) < 2:
        raise DataError(f"--labels: got only {listed[0]!r}. Name every class, separated by commas.")
    return listed


def _as_arrow(column: pd.Series, where: str, name: str) -> pa.ChunkedArray:
    """A column as texts in Arrow, whatever pandas holds it in."""
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowException, ValueError):  # of several types, which Arrow does not mix
        array = scalars_as_texts(column.tolist(), where, name)
    return as_texts(array, where, name)


def _in_one(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts in one piece, of which rows are picked quickly."""
    return pa.chunked_array([column.combine_chunks()], pa.large_string())


def encode_labels(column: pd.Series, where: str, part: str) -> LabelCodes:
    """The labels of a part, each distinct one once."""
    encoded = _in_one(label_texts(column, where, part)).chunk(0).dictionary_encode()
    return LabelCodes(encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist())


def _canonical(columns: Mapping[str, LabelCodes], known: Collection[str], where: str) -> dict[str, LabelCodes]:
    """Labels with whole numbers written as such: where all are numbers, 1.0 is the label 1.

    Raises:
        DataError: A label is a number with a fraction, and not one that is known.
    """
    names = {name for column in columns.values() for name in column.names if name}
    return rename(columns, write_whole_numbers(names, known, where))


def write_whole_numbers(names: Collection[str], known: Collection[str], where: str) -> dict[str, str]:
    """Label -> how it is written, where all are numbers and one is written as a fraction; empty where nothing changes.

    Args:
        known: Labels that are listed, and stay as they are.

    Raises:
        DataError: A label is a number with a fraction, and not listed.
    """
    rewritten = unify_numbers(names, known)
    fractions = sorted(name for name in rewritten if name not in known and _whole(name) is None)
    if fractions:
        raise DataError(
            f"{where}: label {fractions[0]!r} is a number with a fraction. To predict a measure is regression, not "
            "classification: add --label-type score, choose another --label-column, or turn the numbers into classes. If they "
            "are classes, list them all with --labels."
        )
    return rewritten


def unify_numbers(names: Collection[str], known: Collection[str] = ()) -> dict[str, str]:
    """The same with numbers that have a fraction left as they are."""
    if not all(map(_NUMBER.fullmatch, names)) or not any(map(_is_written_as_float, names)):
        return {}
    return {name: name if name in known else _whole(name) or name for name in names}


def is_number(label: str) -> bool:
    """Whether a label is a numeral."""
    return bool(_NUMBER.fullmatch(label))


def is_hidden(label: str) -> bool:
    """Whether a label is the mark of hidden ones, as a whole number or not."""
    return is_number(label) and float(label) == float(_HIDDEN)


def rename(columns: Mapping[str, LabelCodes], new: Mapping[str, str]) -> dict[str, LabelCodes]:
    """The labels of all parts under their new names, those without one as they are; labels of one name become one."""
    return {part: _renamed(column, new) for part, column in columns.items()} if new else dict(columns)


def _renamed(column: LabelCodes, new: Mapping[str, str]) -> LabelCodes:
    names = [new.get(name, name) for name in column.names]
    unique = list(dict.fromkeys(names))
    positions = {name: index for index, name in enumerate(unique)}
    return LabelCodes(np.array([positions[name] for name in names], np.int64)[column.codes], unique)


def _is_written_as_float(label: str) -> bool:
    return not label.lstrip("+-").isdigit()


def _whole(label: str) -> str | None:
    """The whole number that a numeral means, if it means one; digits alone stay as they are, leading zeros too."""
    if not _is_written_as_float(label):
        return label
    value = Decimal(label)
    if value.adjusted() > 30 or value != value.to_integral_value():
        return None
    return str(int(value))


def check_are_classes(labels: Sequence[str], rows: int, where: str) -> None:
    """Hold that labels repeat.

    Raises:
        DataError: More than half as many as there are rows are different.
    """
    if rows >= _ENOUGH_ROWS and len(labels) * 2 > rows:
        raise DataError(
            f"{where}: {rows:,} rows hold {len(labels):,} different labels, such as {shorten(labels[0])!r}: too many to be "
            "classes. Does --label-column name texts, ids or scores? If they are classes, list them all with --labels."
        )


def _note_joined(labels: Sequence[str], columns: Mapping[str, LabelCodes], where: str) -> list[str]:
    """What is said of classes that seem to be several labels in one cell.

    Raises:
        DataError: They must be.
    """
    certain, possible = find_joined(labels)
    if certain:
        label = min(certain)
        marked = {part: np.flatnonzero(column.marks([label])) for part, column in columns.items()}
        part, places = next((part, places) for part, places in marked.items() if len(places))
        first = f"row {places[0] + 1:,} of the data" if part == "all" else f"row {places[0] + 1:,} of {part}"
        more = f"; {len(certain) - 1:,} more labels are like it" if len(certain) > 1 else ""
        raise DataError(
            f"{where}: label {shorten(label)!r} ({first}, {sum(map(len, marked.values())):,} rows in all{more}) seems to be "
            f"several labels, {' and '.join(map(shorten, certain[label]))}; one class per text is needed. If texts "
            "have several, add --label-type multi and --label-separator; else keep one in each row. If it is one class, "
            "list all classes with --labels, in a recipe where names hold commas."
        )
    return [
        f"Class {shorten(label)!r} holds what looks like several labels ({', '.join(map(shorten, names))}): if so, keep one in "
        "each row, for one class per text is needed."
        for label, names in sorted(possible.items())[:_NOTED]
    ]


def number_classes(
    labels: list[str], named: tuple[str, ...] | None, listed: tuple[str, ...], where: str
) -> tuple[tuple[str, ...], dict[str, int]]:
    """All classes in their order, and the index of the class that each label means."""
    if named is None and not listed:
        ordered = sorted(labels, key=_by_value)
        return tuple(ordered), {label: index for index, label in enumerate(ordered)}
    name_of = {label: label for label in labels}
    if named is not None:
        by_index = {str(index): name for index, name in enumerate(named)}
        if set(labels) <= set(by_index):  # not mixed with the names, for those may be numbers as well, such as 1 and 2
            name_of = by_index
        elif not listed:
            _refuse_strange(labels, named, by_index, where, f"is none of the classes {enumerate_some(named)}.")
    classes = listed or named or ()
    _refuse_strange(
        [name_of[label] for label in labels],
        classes,
        {},
        where,
        f"is none of --labels {enumerate_some(classes)}. Add it there, or leave such rows out of the data.",
    )
    index = {name: position for position, name in enumerate(classes)}
    return classes, {label: index[name] for label, name in name_of.items() if name in index}


def _refuse_strange(labels: Sequence[str], known: Sequence[str], last: Mapping[str, str], where: str, complaint: str) -> None:
    unknown = set(labels) - set(known)
    strange = sorted(unknown - set(last) or unknown)
    if strange:
        more = f" (and {len(strange) - 1:,} more)" if len(strange) > 1 else ""
        raise DataError(f"{where}: label {shorten(strange[0])!r}{more} {complaint}")


def _by_value(label: str) -> tuple[bool, float, str]:
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    return (False, value, label) if math.isfinite(value) else (True, 0.0, label)
