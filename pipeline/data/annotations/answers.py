"""What an annotation tool says of a row beside its label: whether it was accepted, who made it, and what others answered.

Prodigy's `answer` is accept, reject or ignore: a rejected example shows that its label is wrong, not what is right. Argilla
marks records that were discarded.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.labels import as_list
from pipeline.errors import has_surrogate, shorten

ANSWER = "answer"
ANNOTATION = "annotation"
"""Under which name it is read what tells one annotation of a text from another: its id, or who made it."""
ANNOTATION_ID = "annotation_id"
"""Label Studio's; later annotations have higher ids, whatever their order in a file."""
RESPONSES = ".responses"
"""How Argilla calls a column of what several annotators answered to a question: a list with an item for each."""
_PRODIGY = frozenset({"accept", "reject", "ignore"})
_ARGILLA = frozenset({"pending", "draft", "submitted", "completed", "discarded", "default", "edited", "validated"})
_NO_ANSWER = "?"
_REASONS = {"reject": "rejected annotation", "ignore": "ignored annotation", "discarded": "discarded annotation"}
# Where Prodigy and others say who annotated.
_ANNOTATORS = ("_annotator_id", "_session_id", "annotator_id", "annotator", "worker_id")


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


def find_annotation_column(columns: Sequence[str], label: str) -> str | None:
    """The column that tells annotations of one text from each other; None where there is none.

    Args:
        label: The column of the labels.
    """
    return next((name for name in (f"{label}.users", ANNOTATION_ID, *_ANNOTATORS) if name in columns), None)


def read_annotation(cell: Any, column: str) -> str | None:
    """What a cell of that column says: a number where it is the id of an annotation, whose order counts; else who, in words."""
    if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return str(cell) if column == ANNOTATION_ID else f"by {shorten(str(cell))}"


def spread_responses(cells: Mapping[str, Sequence[Any]], label: str) -> tuple[dict[str, list[Any]], list[int]]:
    """Cells with a row for each response of Argilla, in place of a row with a list of them; and the row that each comes from.

    Args:
        label: The column of the responses. Those of statuses and users, called after it, hold a list with as many items.
    """
    beside = [name for name in cells if name.startswith(f"{label}.")]
    spread: dict[str, list[Any]] = {name: [] for name in cells}
    origin: list[int] = []
    for row in range(len(cells[label])):
        lists = {name: as_list(cells[name][row]) for name in (label, *beside)}
        several = {name: items for name, items in lists.items() if items is not None}
        number = len(several[label]) if label in several else 0
        if not number or {len(items) for items in several.values()} != {number}:
            several, number = {}, 1
        for name, column in spread.items():
            column.extend(several.get(name, [cells[name][row]] * number))
        origin.extend([row] * number)
    return spread, origin


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
