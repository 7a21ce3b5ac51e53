"""What annotation tools say of a row beside its label: accepted, rejected, skipped; and Label Studio's tasks as rows.

Prodigy's `answer` is accept, reject or ignore: a rejected example shows that its label is wrong, not what is right. Argilla
marks records that were discarded.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.surrogates import has_surrogate

ANSWER = "answer"
_PRODIGY = frozenset({"accept", "reject", "ignore"})
_ARGILLA = frozenset({"pending", "draft", "submitted", "completed", "discarded", "default", "edited", "validated"})
_NO_ANSWER = "?"
_REASONS = {"reject": "rejected annotation", "ignore": "ignored annotation", "discarded": "discarded annotation"}


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
