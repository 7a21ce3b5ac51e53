"""What annotation tools say of a row beside its label: accepted, rejected, skipped; and Label Studio's tasks as rows.

Prodigy's `answer` is accept, reject or ignore: a rejected example shows that its label is wrong, not what is right. Argilla
marks records that were discarded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ANSWER = "answer"
_PRODIGY = frozenset({"accept", "reject", "ignore"})
_ARGILLA = frozenset({"pending", "draft", "submitted", "completed", "discarded", "default", "edited", "validated"})
_REASONS = {"reject": "rejected annotation", "ignore": "ignored annotation", "discarded": "discarded annotation"}


def find_answer_column(columns: Sequence[str]) -> str | None:
    """The column that may say whether a row's annotation was accepted; what it does hold is known when it is read."""
    if ANSWER in columns:
        return ANSWER
    argilla = "_server_id" in columns or any(column.endswith(".responses") for column in columns)
    argilla = argilla or {"annotation", "prediction"} <= set(columns)
    return "status" if argilla and "status" in columns else None


def are_answers(values: Collection[str | None]) -> bool:
    """Whether values are nothing but a tool's words for accepted, rejected and skipped."""
    words = {value.lower() for value in values if value}
    return words <= _PRODIGY or words <= _ARGILLA


def is_left_out(answer: str | None) -> bool:
    """Whether an annotation was rejected or skipped."""
    return (answer or "").lower() in _REASONS


def leave_out(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """A part without the rows whose annotation was rejected or skipped, and how many these were, by reason."""
    if ANSWER not in table:
        return table, {}
    answers = table[ANSWER].str.lower()
    dropped = {reason: int((answers == word).sum()) for word, reason in _REASONS.items()}
    kept: NDArray[np.bool_] = ~answers.isin(list(_REASONS)).to_numpy(bool)
    return table[kept].drop(columns=[ANSWER]).reset_index(drop=True), {name: n for name, n in dropped.items() if n}


def as_row(record: dict[str, Any]) -> dict[str, Any]:
    """A task of Label Studio's full export as a row: its data, and a list of choices under each control's name.

    Skipped annotations are not counted; where all were skipped, the row is. Any other record stays as it is.
    """
    annotations = record.get("annotations", record.get("completions"))
    if not isinstance(record.get("data"), dict) or not isinstance(annotations, list):
        return record
    row = dict(record["data"])
    made = [item for item in annotations if isinstance(item, dict)]
    finished = [item for item in made if not (item.get("was_cancelled") or item.get("skipped"))]
    for annotation in finished:
        for control, choices in _choices(annotation):
            row.setdefault(control, [])
            if isinstance(row[control], list):
                row[control] += choices
    if made and not finished:
        row[ANSWER] = "ignore"
    return row


def _choices(annotation: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    results = annotation.get("result")
    for result in results if isinstance(results, list) else ():
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict) and isinstance(value.get("choices"), list):
            yield str(result.get("from_name")), value["choices"]
