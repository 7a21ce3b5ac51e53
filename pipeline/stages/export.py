"""A comparison as plain folders, for whoever wants no tracking store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd

from pipeline.comparison.rows import name_with_seed, was_trained_here
from pipeline.comparison.selection import Selection
from pipeline.errors import PipelineError, RunError
from pipeline.evaluation.predictions import write_csv
from pipeline.stages.progress import say
from pipeline.tracking.runs import Run, Tracker


def export(target: Path, written: Path, selection: Selection, tracker: Tracker) -> None:
    """Write the SST-2 study's layout: `results/` with predictions, table and pictures, `models/` with a folder per model.

    What is gone from the tracking store is said, and the rest is written.

    Args:
        written: Folder of the comparison's own files.

    Raises:
        PipelineError: `target` cannot be written.
    """
    results, models = target / "results", target / "models"
    try:
        results.mkdir(parents=True, exist_ok=True)
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(f"--export-dir {target}: cannot be written: {error}.") from error
    for file in written.iterdir():
        shutil.copy(file, results)
    for name, run in selection.file_names().items():
        with tempfile.TemporaryDirectory() as scratch:
            _export_predictions(run, results / f"{name}_test_outputs.csv", tracker, Path(scratch))
            if was_trained_here(run):
                _export_model(run, models / name, tracker, Path(scratch))


def _export_predictions(run: Run, target: Path, tracker: Tracker, scratch: Path) -> None:
    try:
        file = tracker.download(run.run_id, "predictions.csv", scratch)
    except RunError as error:
        say(f"Not exported: predictions of {name_with_seed(run)}: {error}")
        return
    # As text: a class called 01 is not 1, and one called NA is not missing.
    predictions = pd.read_csv(file, dtype=str, keep_default_na=False)
    columns = [name for name in ("sentence", "sentence_pair", "gold", "pred") if name in predictions]
    target.write_text(write_csv(predictions[columns]), encoding="utf-8", newline="")


def _export_model(run: Run, target: Path, tracker: Tracker, scratch: Path) -> None:
    try:
        model = tracker.download_model(run.run_id, scratch)
    except RunError as error:
        say(f"Not exported: model of {name_with_seed(run)}: {error}")
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(model, target)
