"""What the report is made of, read from the tracking store."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.breakdown import Breakdown
from pipeline.comparison.curves import Curve
from pipeline.comparison.data_audit import DataAudit
from pipeline.comparison.pareto import Cost, Point
from pipeline.comparison.recorded import RecordedPredictions, read_record
from pipeline.comparison.rows import was_trained_here
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import Statistics
from pipeline.evaluation.metrics import count_confusions
from pipeline.tracking.runs import Run, RunStore


@dataclass(frozen=True)
class Origin:
    """Where a compared run came from."""

    run: Run
    address: str
    """Where a browser shows it; may be empty."""
    environment: Mapping[str, Any]
    """Versions, hardware and command line; empty where they were not recorded."""

    @property
    def command(self) -> str:
        """The command line that made it; a study's runs are made by processes of it, and share it."""
        stage = [str(word) for word in (self.environment.get("command") or [])[1:]]
        return f"python -m pipeline {shlex.join(stage)}" if stage else ""

    @property
    def remake(self) -> str:
        """The command line that makes it again; none of a model that was not trained here."""
        return f"python -m pipeline reproduce --run-id {self.run.run_id}" if was_trained_here(self.run) else ""


@dataclass(frozen=True)
class Content:
    """All that the report shows."""

    title: str
    table: pd.DataFrame
    selection: Selection
    statistics: Statistics
    curves: Sequence[Curve]
    points: dict[Cost, list[Point]]
    recorded: RecordedPredictions
    hardest: pd.DataFrame
    origins: Sequence[Origin]
    breakdown: Breakdown
    audit: DataAudit

    @property
    def names(self) -> list[str]:
        """What each row of the table is called."""
        return [row.name for row in self.statistics.rows]

    def confusions(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Name of a row -> how often its first seed took a true class (rows) for another (columns); not of scores."""
        classes = np.arange(len(self.recorded.classes))
        seeds = {run.run_id: int(run.params.get("seed") or 0) for run in self.selection.kept}
        for name, ids in zip(self.names, self.table["run_ids"], strict=True):
            present = [run_id for run_id in ids.split() if run_id in self.recorded.predicted]
            if present:
                run_id = min(present, key=lambda run_id: seeds[run_id])
                yield name, count_confusions(self.recorded.gold, self.recorded.predicted[run_id], classes)


def read_origins(runs: Sequence[Run], store: RunStore) -> list[Origin]:
    """The compared runs with their records; what is gone is left empty."""
    return [Origin(run, store.web_address(run.run_id), read_record(run.run_id, "environment.json", store)) for run in runs]
