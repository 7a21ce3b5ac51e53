"""What the report is made of, read from the tracking store."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.curves import Curve
from pipeline.comparison.pareto import Cost, Point
from pipeline.comparison.recorded import RecordedPredictions
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import Statistics
from pipeline.errors import PipelineError
from pipeline.tracking.runs import Run, RunStore


@dataclass(frozen=True)
class Origin:
    """Where a compared run came from."""

    run: Run
    address: str
    """Where a browser shows it; may be empty."""
    environment: Mapping[str, Any]
    """Versions, hardware and command line; empty where they were not recorded."""


@dataclass(frozen=True)
class Content:
    """All that the report shows."""

    title: str
    table: pd.DataFrame
    selection: Selection
    statistics: Statistics
    curves: Sequence[Curve]
    points: Mapping[Cost, Sequence[Point]]
    recorded: RecordedPredictions
    hardest: pd.DataFrame
    origins: Sequence[Origin]

    @property
    def names(self) -> list[str]:
        """What each row of the table is called."""
        return [row.name for row in self.statistics.rows]


def read_origins(runs: Sequence[Run], store: RunStore) -> list[Origin]:
    """The compared runs with their records; what is gone is left empty."""
    return [Origin(run, store.web_address(run.run_id), _read_environment(run, store)) for run in runs]


def _read_environment(run: Run, store: RunStore) -> Mapping[str, Any]:
    try:
        with tempfile.TemporaryDirectory() as scratch:
            content = json.loads(store.download(run.run_id, "environment.json", Path(scratch)).read_text(encoding="utf-8"))
    except (PipelineError, OSError, ValueError):  # a model from elsewhere has none
        return {}
    return content if isinstance(content, dict) else {}
