"""Texts with sets of labels made ready: missing ones dropped and counted, sets turned into indices of labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.data.cleaning import (
    CleanTables,
    LabelCodes,
    check_are_classes,
    check_listed,
    encode_labels,
    keep_rows,
    leave_out_rejected,
    number_classes,
    strip_texts,
    write_whole_numbers,
)
from pipeline.data.columns import LABEL
from pipeline.data.label_sets.cells import HIDDEN, write_set
from pipeline.data.label_sets.matrix import as_column
from pipeline.data.labels import find_joined
from pipeline.data.source import SourceTables
from pipeline.errors import DataError, shorten

_HIDDEN_SET = write_set([HIDDEN])


def clean_sets(
    tables: SourceTables, where: str, labels: Sequence[str] = (), separator: str | None = None, sure: bool = False
) -> CleanTables:
    """Drop rows without text or label and number the labels; `label` is then a tuple of indices in ascending order.

    Names and their order are as `cleaning.clean` has them.

    Args:
        labels: What `--labels` says; empty if it was not given.
        separator: What `--label-separator` says.
        sure: Whether the labels are known, so that a few rows may have one of them alone.

    Raises:
        DataError: Nothing is left, labels are ids or several in one, there are fewer than two, or one is not among the given.
    """
    listed = check_listed(labels)
    tables, left_out = leave_out_rejected(tables)
    encoded = {part: encode_labels(table[LABEL], where, part) for part, table in tables.parts.items()}
    encoded = _canonical(encoded, tables, listed, where)
    dropped = {"missing text": 0, "missing label": 0, "hidden label": 0}
    parts: dict[str, pd.DataFrame] = {}
    unlabelled = list(tables.unlabelled)
    for part, table in tables.parts.items():
        texts, no_text = strip_texts(table, where)
        no_label = ~no_text & encoded[part].marks([""])
        hidden = ~no_text & encoded[part].marks([_HIDDEN_SET]) & (HIDDEN not in listed)
        for reason, rows in zip(dropped, (no_text, no_label, hidden), strict=True):
            dropped[reason] += int(rows.sum())
        kept = ~(no_text | no_label | hidden)
        if kept.any():
            parts[part] = keep_rows(table, texts, {LABEL: encoded[part].codes}, kept)
        elif hidden.any():
            unlabelled.append(part)
    sets = {part: [_names_of(name) for name in encoded[part].names] for part in parts}
    counted = {part: np.bincount(table[LABEL].to_numpy(), minlength=len(sets[part])) for part, table in parts.items()}
    used = [names for part in parts for names, rows in zip(sets[part], counted[part], strict=True) if rows]
    names = sorted({name for chosen in used for name in chosen})
    if not names and not (sure and parts):
        others = f" of those whose annotation was accepted ({sum(left_out.values()):,} were not)" if left_out else ""
        raise DataError(f"{where}: no row{others} has a text and at least one label. Check --text-column and --label-column.")
    notes: list[str] = []
    if not sure:
        _check_sets(names, used, separator, where, tables.classes or listed)
        if not (listed or tables.classes):
            check_are_classes(names, sum(map(len, parts.values())), where)
        if all(len(chosen) == 1 for chosen in used):
            notes.append(
                "Every text has just one label. If always one is right, they are classes: leave --label-type multi out."
            )
    classes, number = number_classes(names, tables.classes, listed, where)
    for part, table in parts.items():
        numbered = [tuple(sorted(number.get(name, 0) for name in chosen)) for chosen in sets[part]]
        table[LABEL] = as_column([numbered[code] for code in table[LABEL]])
    return CleanTables(parts, classes, left_out | dropped, tuple(unlabelled), notes)


def _names_of(written: str) -> list[str]:
    """The names of a set as it is read; none of a missing label, whose rows are dropped."""
    return json.loads(written) if written else []


def _canonical(
    encoded: Mapping[str, LabelCodes], tables: SourceTables, listed: tuple[str, ...], where: str
) -> dict[str, LabelCodes]:
    """Sets with whole numbers written as such: where all labels are numbers, 1.0 is the label 1."""
    names = {name for column in encoded.values() for written in column.names for name in _names_of(written)}
    rewritten = write_whole_numbers(names, {*listed, *(tables.classes or ())}, where)

    def rewrite(written: str) -> str:
        return write_set(rewritten.get(name, name) for name in _names_of(written)) if written else written

    return {part: LabelCodes(column.codes, [rewrite(name) for name in column.names]) for part, column in encoded.items()}


def _check_sets(
    names: Sequence[str], used: Sequence[Sequence[str]], separator: str | None, where: str, known: Sequence[str]
) -> None:
    """Refuse what is not any number of labels a text.

    Raises:
        DataError: There is one label alone, a label is several in one, or the separator stands nowhere.
    """
    if len({*names, *known}) < 2:
        raise DataError(
            f"{where}: {shorten(names[0])!r} is the only label. Give data with two labels or more; for texts that have "
            "it or not, a --label-column of two classes."
        )
    joined, _ = find_joined(names)
    if joined and not set(joined) & set(known):
        label = min(joined)
        separating = next(char for char in label if char in ",;|#")
        raise DataError(
            f"{where}: label {shorten(label)!r} seems to be several labels, {' and '.join(map(shorten, joined[label]))}. Pass "
            f'--label-separator "{separating}"; if it is one label, list all with --labels, in a recipe if names hold commas.'
        )
    if separator and all(len(chosen) < 2 for chosen in used):
        raise DataError(
            f"{where}: --label-separator {separator} stands in no label, such as {shorten(names[0])!r}. Pass what stands "
            "between labels, or leave it out."
        )
