"""What a study says on its own run once it was compared: the verdict, the figures of every row, and where the report is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd

from pipeline.comparison.markdown import as_plain
from pipeline.comparison.table import label_rows
from pipeline.tracking.runs import RunLogger

DESCRIPTION = "mlflow.note.content"
"""The tag that the MLflow UI shows as a run's description, read as Markdown."""
_FIGURES = (
    *("f1_macro", "f1_macro_low", "f1_macro_high", "f1_macro_std"),
    *("spearman", "spearman_std"),
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
