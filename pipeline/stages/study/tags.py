"""What a study writes on its own run, for comparing it later: what it planned, took from earlier ones, left out and doubts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.comparison.report.markdown import as_plain
from pipeline.comparison.table import label_rows
from pipeline.evaluation.metric import list_metrics
from pipeline.tracking.runs import Run, RunLogger

# Tags, one for each thing: a single tag could not hold them all. By number, where a name may hold anything.
_REUSED, _UNFIT, _PLANNED, _DOUBT = "reused/", "not_run/", "planned/", "doubt/"


def note_reused(study: RunLogger, run_id: str, title: str) -> None:
    """Make a run that has another parent a part of a study, which calls it `title`: a run of the store has one parent only."""
    study.set_tags({f"{_REUSED}{run_id}": title})


def reused_by(study: Run) -> dict[str, str]:
    """Ids of the runs that a study took from earlier ones -> what the study calls them."""
    return {name.removeprefix(_REUSED): title for name, title in study.tags.items() if name.startswith(_REUSED)}


def note_unfit(study: RunLogger, reasons: Mapping[str, str]) -> None:
    """Write down which strategies could not be run, and why."""
    study.set_tags({f"{_UNFIT}{name}": reason for name, reason in reasons.items()})


def unfit_in(study: Run) -> dict[str, str]:
    """Strategies that a study could not run -> why."""
    return {name.removeprefix(_UNFIT): reason for name, reason in study.tags.items() if name.startswith(_UNFIT)}


def note_doubts(study: RunLogger, doubts: Sequence[str]) -> None:
    """Write down what makes the study's comparison unfair: settings that were chosen for something else, or for nothing."""
    study.set_tags({f"{_DOUBT}{number}": text for number, text in enumerate(doubts)})


def doubts_in(study: Run) -> tuple[str, ...]:
    """What makes a study's comparison unfair."""
    return tuple(_in_order(study, _DOUBT))


def note_planned(study: RunLogger, planned: Mapping[str, Sequence[int]]) -> None:
    """Write down which strategies will be trained, by what the study calls them, with which seeds (first and number)."""
    noted = [json.dumps([title, seeds[0], len(seeds)], ensure_ascii=False) for title, seeds in planned.items()]
    study.set_tags({f"{_PLANNED}{number}": text for number, text in enumerate(noted)})


def planned_in(study: Run) -> dict[str, range]:
    """Strategies that a study wanted to train, in its order -> with which seeds; none of a study that did not say."""
    plans = map(json.loads, _in_order(study, _PLANNED))
    return {title: range(first, first + count) for title, first, count in plans}


def _in_order(study: Run, prefix: str) -> list[str]:
    noted = {int(name.removeprefix(prefix)): text for name, text in study.tags.items() if name.startswith(prefix)}
    return [noted[number] for number in sorted(noted)]


DESCRIPTION = "mlflow.note.content"
"""The tag that the MLflow UI shows as a run's description, read as Markdown."""
_FIGURES = (
    *(f"{metric.name}{ending}" for metric in list_metrics() if metric.ranks for ending in ("", "_low", "_high", "_std")),
    "train_seconds",
)
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
    figures = {
        f"study/{name}/{column}": float(row[column])
        for name, (_, row) in zip(metric_names(label_rows(table)), table.iterrows(), strict=True)
        for column in _FIGURES
        if column in table and math.isfinite(row[column])
    }
    study.log_metrics(figures)
    said = "\n\n".join(map(as_plain, verdict))
    if len(said) > _LONGEST_DESCRIPTION:
        said = said[:_LONGEST_DESCRIPTION].rpartition(" ")[0] + " ..."
    study.set_tags({DESCRIPTION: f"{said}\n\n{report}"})


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
