"""Records of annotation tools as rows: an annotation each, where a record holds several of one text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.data.annotations.answers import ANNOTATION_ID, ANSWER

_VALUES = ("choices", "rating", "number")
"""What Label Studio's controls for whole texts keep: Choices a list, Rating and Number a number."""


def is_nested_argilla(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of Argilla's own JSON, which does not say which responses were discarded."""
    return all(isinstance(record.get(name), dict) for name in ("fields", "responses", "suggestions"))


def task_of(record: Mapping[str, Any]) -> Any:
    """The id of a task of Label Studio's full export; None of any other record."""
    return record.get("id") if _annotations(record) is not None else None


def as_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A task of Label Studio's full export as a row for each annotation: its data, and the choices under each control's name.

    A skipped annotation has no choices, and the answer `ignore`. A task that nobody annotated is a row without labels. Any
    other record stays as it is.
    """
    annotations = _annotations(record)
    if annotations is None:
        return [record]
    data: dict[str, Any] = record["data"]
    rows = []
    for annotation in annotations:
        row = data | {ANNOTATION_ID: annotation.get("id")}
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            row[ANSWER] = "ignore"
        else:
            chosen: dict[str, list[Any]] = {}
            for control, values in _chosen(annotation):
                chosen.setdefault(control, []).extend(values)
            row |= chosen
        rows.append(row)
    return rows or [data]


def _annotations(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Of a task of Label Studio; None of any other record."""
    annotations = record.get("annotations", record.get("completions"))
    if not isinstance(record.get("data"), dict) or not isinstance(annotations, list):
        return None
    return [item for item in annotations if isinstance(item, dict)]


def _chosen(annotation: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    results = annotation.get("result")
    for result in results if isinstance(results, list) else ():
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue
        for key in _VALUES:
            if key in value:
                yield str(result.get("from_name")), value[key] if isinstance(value[key], list) else [value[key]]
