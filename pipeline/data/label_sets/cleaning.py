"""Texts with sets of labels made ready: missing ones dropped and counted, sets turned into indices of labels."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

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
    name_classes,
    number_classes,
    rename,
    strip_texts,
    unify_numbers,
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
    tables: SourceTables,
    where: str,
    labels: Sequence[str] = (),
    separator: str | None = None,
    known: Collection[str] | None = None,
) -> CleanTables:
    """Drop rows without text or label and number the labels; `label` is then a tuple of indices in ascending order.

    Names and their order are as `cleaning.clean` has them.

    Args:
        labels: What `--labels` says; empty if it was not given.
        separator: What `--label-separator` says.
        known: The labels of the model that is to be asked, if there is one. A few rows may then have one of them alone, and
            -1 is a label where it is one of these.

    Raises:
        DataError: Nothing is left, labels are ids or several in one, there are fewer than two, or one is not among the given.
    """
    listed = check_listed(labels)
    tables, left_out = leave_out_rejected(tables)
    encoded = {part: encode_labels(table[LABEL], where, part) for part, table in tables.parts.items()}
    named, expected = name_classes(tables, listed, known)
    encoded = _canonical(encoded, expected, where)
    is_known = HIDDEN in listed or (not named and HIDDEN in expected)
    dropped = {"missing text": 0, "missing label": 0, "hidden label": 0}
    parts: dict[str, pd.DataFrame] = {}
    unlabelled = list(tables.unlabelled)
    for part, table in tables.parts.items():
        texts, no_text = strip_texts(table, where)
        no_label = ~no_text & encoded[part].marks([""])
        hidden = ~no_text & encoded[part].marks([_HIDDEN_SET]) & (not is_known)
        for reason, rows in zip(dropped, (no_text, no_label, hidden), strict=True):
            dropped[reason] += int(rows.sum())
        kept = ~(no_text | no_label | hidden)
        if kept.any():
            parts[part] = keep_rows(table, texts, {LABEL: encoded[part].codes}, kept)
        elif hidden.any():
            unlabelled.append(part)
    sets = {part: [names_of(name) for name in encoded[part].names] for part in parts}
    counted = {part: np.bincount(table[LABEL].to_numpy(), minlength=len(sets[part])) for part, table in parts.items()}
    used = [names for part in parts for names, rows in zip(sets[part], counted[part], strict=True) if rows]
    names = sorted({name for chosen in used for name in chosen})
    if not names and not (known is not None and parts):
        others = f" of those whose annotation was accepted ({sum(left_out.values()):,} were not)" if left_out else ""
        raise DataError(f"{where}: no row{others} has a text and at least one label. Check --text-column and --label-column.")
    notes: list[str] = []
    if known is None:
        _check_sets(names, used, separator, where, tables.classes or listed)
        if not named:
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


def names_of(written: str) -> list[str]:
    """The names of a set as it is read; none of a missing label, whose rows are dropped."""
    return json.loads(written) if written else []


def _canonical(encoded: Mapping[str, LabelCodes], known: Collection[str], where: str) -> dict[str, LabelCodes]:
    """Sets with whole numbers written as such: where all labels are numbers, 1.0 is the label 1."""
    names = {name for column in encoded.values() for written in column.names for name in names_of(written)}
    return rename(encoded, _rewrite(encoded, write_whole_numbers(names, known, where)))


def unify_sets(encoded: Mapping[str, LabelCodes], known: Collection[str] = ()) -> dict[str, LabelCodes]:
    """The same with numbers that have a fraction left as they are."""
    names = {name for column in encoded.values() for written in column.names for name in names_of(written)}
    return rename(encoded, _rewrite(encoded, unify_numbers(names, known)))


def _rewrite(encoded: Mapping[str, LabelCodes], new: Mapping[str, str]) -> dict[str, str]:
    """Set -> the set with its labels under their new names; empty where there are none."""
    written = {name for column in encoded.values() for name in column.names if name} if new else ()
    return {text: write_set(new.get(name, name) for name in names_of(text)) for text in written}


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
