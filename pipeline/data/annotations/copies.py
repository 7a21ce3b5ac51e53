"""Several annotations of one text: found, counted, and settled as `--annotators` says.

Rows are annotations of one text where their texts are equal but for spaces around them, whatever tool wrote them: Label Studio
and Argilla repeat a text with each annotation, and a table of crowd workers does, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.data.annotations.answers import ANNOTATION, ANSWER, is_left_out
from pipeline.data.cleaning import LabelCodes, encode_labels, is_number, rename, strip_texts, unify_numbers
from pipeline.data.columns import LABEL
from pipeline.data.label_sets.cleaning import unify_sets
from pipeline.data.source import SourceTables
from pipeline.errors import DataError

Rule = Literal["all", "first", "majority", "drop"]
LabelType = Literal["class", "multi", "score"]
Ints = NDArray[np.integer]

COPIES = "copies"
"""Column of the number of a row's text, where copies of a text are to stay in one split."""

_CONFLICTING = 0.01
"""Share of texts with different labels from which a table counts as one of several annotators; in SST-2 it is 0.0001."""


@dataclass(frozen=True)
class Settled:
    """Tables as they are to be used, and what became of the others' rows."""

    tables: SourceTables
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""
    notes: list[str] = field(default_factory=list)
    """What a user should know of it, in sentences."""


@dataclass(frozen=True)
class _Votes:
    """The annotations of a part that count: rows with their texts and a label, not rejected."""

    rows: Ints
    """In the order in which they were made as far as that is known, else of the file; shape [votes]."""
    texts: Ints
    """The number of each one's text; shape [votes]."""
    labels: Ints
    """The number of each one's label; shape [votes]."""

    @property
    def several(self) -> NDArray[np.bool_]:
        """Whether a text has several; shape [texts]."""
        return np.bincount(self.texts) > 1

    @property
    def different(self) -> NDArray[np.bool_]:
        """Whether a text has different labels; shape [texts]."""
        labels = self.labels.max(initial=-1) + 1
        return np.bincount(np.unique(self.texts * labels + self.labels) // max(labels, 1)) > 1


def settle(
    tables: SourceTables, rule: Rule | None, where: str, label_type: LabelType = "class", listed: Collection[str] = ()
) -> Settled:
    """Settle several annotations of one text, part by part.

    `all` keeps each; `first` keeps the first of a text; `majority` keeps the label that most of them have, and leaves a text
    out where two labels share the first place; `drop` leaves a text out whose annotations differ. Where several stay, the
    column `COPIES` says which rows are of one text. None is `all` where the data seem to come of several annotators, with
    a note that says so, and leaves all others as they are.

    Args:
        label_type: What labels are, as `--label-type` has it.
        listed: What `--labels` says; empty if it was not given.

    Raises:
        DataError: `majority` of scores, or the rule leaves no annotation at all.
    """
    if rule == "majority" and label_type == "score":
        raise DataError(
            "--annotators majority: scores have no majority. Take all, first or drop (which leaves texts with different scores "
            "out)."
        )
    parts: dict[str, pd.DataFrame] = {}
    dropped, texts, rows, conflicts = Counter[str](), 0, 0, 0
    asked, left = False, 0
    labels = _read_labels(tables, where, label_type, listed)
    for part, table in tables.parts.items():
        votes, numbers = _count_votes(table, labels[part], where)
        several = votes.several
        table = table.drop(columns=ANNOTATION, errors="ignore")
        parts[part] = table
        left += len(votes.rows)
        if not several.any() or not (rule or _seem_annotated(tables.parts[part], votes)):
            continue
        asked = True
        different = votes.different
        texts, conflicts = texts + int(several.sum()), conflicts + int(different.sum())
        rows += int(several[votes.texts].sum())
        if rule in (None, "all"):
            parts[part] = table.assign(**{COPIES: numbers})
            continue
        kept, reasons = _keep(votes, str(rule), different)
        dropped.update(reasons)
        left -= len(votes.rows) - len(kept)
        gone = np.setdiff1d(votes.rows, votes.rows[kept])
        parts[part] = table.drop(index=table.index[gone]).reset_index(drop=True)
    if dropped and not left:
        listed = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items() if count)
        raise DataError(f"{where}: --annotators {rule} leaves no text ({listed}). Take first, or all.")
    notes = [_describe(rule, texts, rows, conflicts)] if asked else []
    return Settled(replace(tables, parts=parts), {name: count for name, count in dropped.items() if count}, notes)


def _read_labels(tables: SourceTables, where: str, label_type: LabelType, listed: Collection[str]) -> dict[str, LabelCodes]:
    """The labels of each part, those that mean the same as one: 1.0 is 1 where all are numbers, as a score 0.50 is 0.5."""
    labels = {part: _encode_counted(table, where, part) for part, table in tables.parts.items()}
    known = {*listed, *(tables.classes or ())}
    if label_type == "multi":
        return unify_sets(labels, known)
    names = {name for column in labels.values() for name in column.names if name}
    if label_type == "score":
        return rename(labels, {name: str(float(name) + 0) for name in names if is_number(name)})  # -0.0 + 0 is 0.0
    return rename(labels, unify_numbers(names, known))


def _encode_counted(table: pd.DataFrame, where: str, part: str) -> LabelCodes:
    """The labels of a part; `''` for those of rejected annotations alone: whether all are numbers is not theirs to say."""
    column = encode_labels(table[LABEL], where, part)
    counted = set(np.unique(column.codes[~_are_left_out(table)]).tolist())
    return LabelCodes(column.codes, [name if code in counted else "" for code, name in enumerate(column.names)])


def _are_left_out(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which annotations were rejected or skipped."""
    if ANSWER not in table:
        return np.zeros(len(table), bool)
    return np.array([is_left_out(answer) for answer in table[ANSWER]], bool)


def _count_votes(table: pd.DataFrame, labels: LabelCodes, where: str) -> tuple[_Votes, Ints]:
    """The annotations that count, and the number of each row's text."""
    texts, missing = strip_texts(table, where)
    numbers, *others = map(_encode, texts.values())
    for codes in others:
        numbers = np.unique(numbers * (codes.max(initial=0) + 1) + codes, return_inverse=True)[1]
    rows = np.flatnonzero(~missing & ~labels.marks([""]) & ~_are_left_out(table))
    if ANNOTATION in table:
        order = pd.to_numeric(table[ANNOTATION], errors="coerce").to_numpy(float, na_value=np.nan)[rows]
        rows = rows if np.isnan(order).any() else rows[np.argsort(order, kind="stable")]
    return _Votes(rows, numbers[rows], labels.codes[rows]), numbers


def _encode(column: pa.ChunkedArray) -> Ints:
    codes: Ints = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _seem_annotated(table: pd.DataFrame, votes: _Votes) -> bool:
    """Whether repeated texts are annotations: the data tell these apart, or their labels differ too often for slips."""
    repeated = votes.rows[votes.several[votes.texts]]
    if ANNOTATION in table and table[ANNOTATION].notna().to_numpy()[repeated].any():
        return True
    return bool(votes.different.sum() >= _CONFLICTING * np.count_nonzero(np.bincount(votes.texts)))


def _keep(votes: _Votes, rule: str, different: NDArray[np.bool_]) -> tuple[Ints, Mapping[str, int]]:
    """Of which annotations a text keeps one, by their places among the votes; and the others by reason."""
    left_out, reason = np.zeros(len(votes.rows), bool), ""
    candidates = np.arange(len(votes.rows))
    if rule == "drop":
        left_out, reason = different[votes.texts], "differing annotations"
    elif rule == "majority":
        labels = votes.labels.max() + 1
        pairs, of_pair, amounts = np.unique(votes.texts * labels + votes.labels, return_inverse=True, return_counts=True)
        texts = pairs // labels
        most = np.zeros(votes.texts.max() + 1, np.int64)
        np.maximum.at(most, texts, amounts)
        leads = amounts == most[texts]
        tied = np.bincount(texts[leads], minlength=len(most)) > 1
        left_out, reason = tied[votes.texts], "tied annotations"
        candidates = candidates[leads[of_pair]]
    candidates = candidates[~left_out[candidates]]
    kept = candidates[np.unique(votes.texts[candidates], return_index=True)[1]]
    return kept, {reason: int(left_out.sum()), "repeated annotation": len(votes.rows) - int(left_out.sum()) - len(kept)}


def _describe(rule: Rule | None, texts: int, rows: int, conflicts: int) -> str:
    found = f"{texts:,} text{'s have' if texts > 1 else ' has'} several annotations, {rows:,} in all, and "
    found += f"{conflicts:,} of these texts {'have' if conflicts != 1 else 'has'} different labels"
    if rule is None:
        return (
            f"{found}. All of them count, and copies of a text stay on one side of a split that is made here. --annotators "
            "first, majority or drop leaves one row a text; all keeps each."
        )
    what = {
        "all": "all of them count, and copies of a text stay on one side of a split that is made here",
        "first": "the first one counts",
        "majority": "the label that most of them have counts, and texts without such a one are left out",
        "drop": "texts with different labels are left out",
    }
    return f"{found}: {what[rule]} (--annotators {rule})."
