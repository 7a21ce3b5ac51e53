from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.comparison.breakdown import break_down, hardest_examples
from pipeline.comparison.data_audit import DataAudit, find_overlap
from pipeline.comparison.pareto import find_points
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.report.tables import Provenance, ReportData
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import add_statistics, build_table
from pipeline.comparison.training_curves import Curve
from pipeline.config.identity import SEEDS
from pipeline.hashing import digest
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
Record = Callable[..., RecordedPredictions]
MakeReportData = Callable[..., ReportData]
EVIL = "<script>alert('&')</script>$title{braces}"
RATES, TRIALS = ("1e-05", "0.000175", "0.02"), ("100", "9", "12")
"""In another order as numbers than as words."""
MANIFEST: Mapping[str, Any] = {
    "classes": ["bad", EVIL],
    "rows": {"train": 3200, "validation": 400, "test": 400},
    "rows_by_class": {"train": [1600, 1600], "validation": [300, 100], "test": [200, 200]},
    "dropped": {"missing text": 7, "missing label": 0},
    "audit": {
        "duplicates_within": {"train": 31, "validation": 0, "test": 2},
        "duplicates_across": {"train/validation": 4, "train/test": 5, "validation/test": 0},
        "conflicting_labels": 6,
    },
}


@pytest.fixture
def make_run() -> MakeRun:
    """Makes finished and evaluated runs, each newer than the one before."""
    made: list[Run] = []

    def make(
        strategy: str = "full",
        f1: float | None = 0.8,
        arguments: str = "{}",
        status: str = "FINISHED",
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Run:
        number = len(made)
        logged = {"learning_rate": "2e-05", "seed": "42", **(params or {})}
        settings = {name: value for name, value in logged.items() if name not in (*SEEDS, "compute_dtype")}
        own = {
            "stage": "train",
            "strategy": strategy,
            "strategy_args": arguments,
            "data_fingerprint": "f" * 64,
            "config_hash": f"hash{number}",
            "settings_hash": digest([strategy, arguments, settings]),
        }
        scores = {} if f1 is None else {"test/f1_macro": f1, "test/accuracy": f1}
        run = Run(
            run_id=f"{number:032d}"[::-1],
            name=strategy,
            status=status,  # type: ignore[arg-type]
            start_time=number,
            tags={**own, **(tags or {})},
            params=logged,
            metrics={**scores, "model/trainable_percent": 100.0, **(metrics or {})},
        )
        made.append(run)
        return run

    return make


@pytest.fixture
def record() -> Record:
    """Makes up predictions of two balanced classes where each run is right with its chance, independently."""

    def make(runs: Sequence[Run], accuracies: Sequence[float], texts: int = 1000) -> RecordedPredictions:
        generator = np.random.default_rng(0)
        gold = np.arange(texts) % 2
        predicted = {
            run.run_id: np.where(generator.random(texts) < accuracy, gold, 1 - gold)
            for run, accuracy in zip(runs, accuracies, strict=True)
        }
        confidence = {run_id: np.full(texts, 0.9) for run_id in predicted}
        return RecordedPredictions([f"text {number}" for number in range(texts)], gold, ["bad", "good"], predicted, confidence)

    return make


@pytest.fixture
def make_content(make_run: MakeRun) -> MakeReportData:
    """Makes up the predictions of two seeds a strategy, right by chance."""

    def make(
        accuracies: Mapping[str, float],
        title: str = EVIL,
        texts: int = 400,
        classes: tuple[str, str] = ("bad", EVIL),
        tuned: bool = False,
    ) -> ReportData:
        generator = np.random.default_rng(0)
        costs = {"cost/train_seconds": 10.0, "cost/artifact_mb": 3.0, "data/overlap_train_test_leaking": 12.5}
        runs = [
            make_run(
                name,
                accuracy,
                metrics=costs | {"cost/peak_rss_mb": 100.0 * place, "test/ece": 0.1 / place},
                params={"seed": seed, "dataset": EVIL, "learning_rate": RATES[place % len(RATES)]},
                tags={"tuned_trials": TRIALS[place % len(TRIALS)]} if tuned else None,
            )
            for place, (name, accuracy) in enumerate(accuracies.items(), start=1)
            for seed in "12"
        ]
        gold = np.arange(texts) % 2
        predicted = {
            run.run_id: np.where(generator.random(texts) < accuracies[run.tags["strategy"]], gold, 1 - gold) for run in runs
        }
        confidence = {run_id: np.full(texts, 0.9) for run_id in predicted}
        said = [f"{EVIL} {number}" for number in range(texts)]
        recorded = RecordedPredictions(said, gold, list(classes), predicted, confidence)
        table = build_table(runs)
        statistics = compute_statistics(table, runs, recorded)
        table = add_statistics(table, statistics)
        selection = Selection(tuple(runs), ())
        curves = [
            Curve(row.name, {"accuracy": {1.0: 0.5, 2.0: 0.6}, "loss": {1.0: 0.7, 2.0: 0.6}}, 2.0) for row in statistics.rows
        ]
        environment = {
            "python": "3.11",
            "packages": {"torch": "2.13.0"},
            "hardware": {"cpu": "X"},
            "command": ["main", "main", "--epochs", "1"],
        }
        provenance = [Provenance(run, f"http://127.0.0.1:5000/#/experiments/1/runs/{run.run_id}", environment) for run in runs]
        points = find_points(table, runs, statistics)
        rows = {row.name: ids.split() for row, ids in zip(statistics.rows, table["run_ids"], strict=True)}
        return ReportData(
            title=title,
            table=table,
            selection=selection,
            statistics=statistics,
            curves=curves,
            points=points,
            recorded=recorded,
            hardest=hardest_examples(recorded),
            provenance=provenance,
            breakdown=break_down(recorded, rows),
            audit=DataAudit(find_overlap(selection), MANIFEST),
        )

    return make


@pytest.fixture
def content(make_content: MakeReportData) -> ReportData:
    """Three rows, with names and texts that want to break out."""
    return make_content({"full": 0.9, "lora": 0.88, "head_only": 0.6})
