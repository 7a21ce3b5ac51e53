"""The tags on a study's own run, for comparing it later: what it planned, reused, left out, and its warnings."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.learning_curve.curve import LearningCurve
from pipeline.comparison.ranking import headline
from pipeline.comparison.report.markdown import as_plain
from pipeline.comparison.row_names import label_rows
from pipeline.errors import RunError, shorten
from pipeline.json_text import parse_json_as
from pipeline.tracking.run_kinds import row_name
from pipeline.tracking.runs import Run, RunLogger, RunStore
from pipeline.tracking.tags import DESCRIPTION, PREFIX, TEXT_LIMIT, Tag

_SHAPES: Mapping[Tag, Any] = {
    Tag.REUSED: dict[str, str],
    Tag.ALSO_CALLED: dict[str, list[str]],
    Tag.NOT_RUN: dict[str, str],
    Tag.DOUBTS: list[str],
    Tag.PLANNED: dict[str, tuple[int, int]],
}
"""What each tag holds as JSON: whoever can write to the store can write others."""


def note_reused(study: RunLogger, store: RunStore, run_id: str, title: str) -> None:
    """Make a run that has another parent a part of a study, which calls it `title`: a run of the store has one parent only.

    What was noted before stays. A study is written by one process, and its lock keeps a second one out.
    """
    _note(study, Tag.REUSED, {**reused_by(store.get(study.run_id), store), run_id: title})


def note_taken(study: RunLogger, store: RunStore, run: Run, title: str) -> None:
    """Make a run that is finished stand for what a study calls `title`, beside what it calls it already.

    Two entries of a recipe may be one training.
    """
    here = store.get(study.run_id)
    reused, also = reused_by(here, store), also_called(here, store)
    if run.parent_id != study.run_id and run.run_id not in reused:
        note_reused(study, store, run.run_id, title)
        return
    more = also.get(run.run_id, [])
    if title not in (reused.get(run.run_id) or row_name(run), *more):
        _note(study, Tag.ALSO_CALLED, {**also, run.run_id: [*more, title]})


def also_called(study: Run, store: RunStore) -> dict[str, list[str]]:
    """Ids of runs that are the trainings of several entries of a study -> what the study calls these, without the first."""
    return dict(_noted(study, Tag.ALSO_CALLED, store) or {})


def reused_by(study: Run, store: RunStore) -> dict[str, str]:
    """Ids of the runs that a study took from earlier ones -> what the study calls them."""
    return dict(_noted(study, Tag.REUSED, store) or {})


def note_unfit(study: RunLogger, reasons: Mapping[str, str]) -> None:
    """Write down which strategies could not be run, and why."""
    _note(study, Tag.NOT_RUN, reasons)


def unfit_in(study: Run, store: RunStore) -> dict[str, str]:
    """Strategies that a study could not run -> why."""
    return dict(_noted(study, Tag.NOT_RUN, store) or {})


def note_doubts(study: RunLogger, doubts: Sequence[str]) -> None:
    """Write down what makes the study's comparison unfair: settings that were chosen for something else, or for nothing."""
    _note(study, Tag.DOUBTS, doubts)


def doubts_in(study: Run, store: RunStore) -> tuple[str, ...]:
    """What makes a study's comparison unfair."""
    return tuple(_noted(study, Tag.DOUBTS, store) or ())


def note_planned(study: RunLogger, planned: Mapping[str, Sequence[int]]) -> None:
    """Write down which strategies will be trained, by what the study calls them, with which seeds (first and number)."""
    _note(study, Tag.PLANNED, {title: [seeds[0], len(seeds)] for title, seeds in planned.items()})


def planned_in(study: Run, store: RunStore) -> dict[str, range]:
    """Strategies that a study wanted to train, in its order -> with which seeds; none of a study that did not say."""
    planned = _noted(study, Tag.PLANNED, store) or {}
    return {title: range(first, first + count) for title, (first, count) in planned.items()}


def _note(study: RunLogger, tag: Tag, value: Mapping[str, object] | Sequence[str]) -> None:
    """Write a value as JSON into a tag, or into an artifact that the tag names where it is too long for one.

    An empty one is not written: a run that has none has no such tag.
    """
    if not value:
        return
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > TEXT_LIMIT:
        study.log_text(text, _file_of(tag))
        text = _file_of(tag)
    study.set_tags({tag: text})


def _noted(study: Run, tag: Tag, store: RunStore) -> Any:
    """What `_note` wrote; None where it did not.

    Raises:
        RunError: Somebody else wrote it, or it is damaged.
    """
    text = study.tags.get(tag)
    if text is None:
        return None
    try:
        if text == _file_of(tag):
            with tempfile.TemporaryDirectory() as scratch:
                text = store.download(study.run_id, text, Path(scratch)).read_text(encoding="utf-8")
        return parse_json_as(text, _SHAPES[tag])
    except ValueError as error:
        raise RunError(
            f"Run {study.run_id}: its tag {tag} says {shorten(text)!r}, which no study writes. Delete the tag "
            "(`MlflowClient().delete_tag`), or compare other runs."
        ) from error


def _file_of(tag: Tag) -> str:
    """The artifact that holds what is too long for a tag."""
    return f"{tag.removeprefix(PREFIX)}.json"


_ILLEGAL = re.compile(r"\s*[^\w.\- ]+\s*")  # in a metric's name; a colon on Windows alone, and a slash would be a level more
_LONGEST = 150  # of the 250 characters that MLflow takes, the figure's name and the rest aside
_LONGEST_DESCRIPTION = 3500


def note_outcome(study: RunLogger, table: pd.DataFrame, verdict: Sequence[str], report: str) -> None:
    """Write verdict and figures of a comparison onto the run of the study that it is of.

    Args:
        table: The results table, with its statistics.
        verdict: In sentences.
        report: Where it is, as Markdown.
    """
    columns = [f"{headline(table).name}{ending}" for ending in ("", "_low", "_high", "_std")] + ["train_seconds"]
    figures = {
        f"study/{name}/{column}": float(row[column])
        for name, (_, row) in zip(metric_names(label_rows(table)), table.iterrows(), strict=True)
        for column in columns
        if column in table and math.isfinite(row[column])
    }
    study.log_metrics(figures)
    said = "\n\n".join(map(as_plain, verdict))
    if len(said) > _LONGEST_DESCRIPTION:
        said = said[:_LONGEST_DESCRIPTION].rpartition(" ")[0] + " ..."
    study.set_tags({DESCRIPTION: f"{said}\n\n{report}"})


def note_curve(study: RunLogger, curve: LearningCurve) -> None:
    """Write the scores by number of labelled texts onto the study's run: MLflow's UI draws them with these as steps."""
    names = dict(zip(curve.names, metric_names(curve.names), strict=True))
    metric = curve.metric.name
    for size in curve.sizes:
        figures: dict[str, float] = {}
        for row, (_, line) in zip(size.statistics.rows, size.table.iterrows(), strict=True):
            bounds = {"_low": row.score.low, "_high": row.score.high} if row.score else {}
            scores = {"": float(line[metric]), **bounds}
            figures |= {f"curve/{names[row.name]}/{metric}{ending}": value for ending, value in scores.items()}
        study.log_metrics(figures, step=size.texts)


def metric_names(rows: Sequence[str]) -> list[str]:
    """What each row is called inside the name of a metric: as it is where MLflow allows that, and no two alike."""
    names: list[str] = []
    for number, row in enumerate(rows, 1):
        name = row[:_LONGEST]
        if _ILLEGAL.search(name):
            name = _ILLEGAL.sub("_", name).strip("_ ")
        if not name.strip(". "):  # `..` would be another level
            name = f"row_{number}"
        taken = {other.casefold() for other in names}  # some databases do not tell capitals from small letters
        names.append(f"{name}_{number}" if name.casefold() in taken else name)
    return names
