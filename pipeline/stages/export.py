"""A comparison as plain folders, for whoever wants no tracking store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd

from pipeline.comparison.rows import name_with_seed, was_trained_here
from pipeline.comparison.selection import Selection
from pipeline.errors import DamageError, RunError
from pipeline.evaluation.predictions import write_csv
from pipeline.stages.export_folder import exporting
from pipeline.stages.progress import say
from pipeline.stages.record import fetch_model
from pipeline.tracking.runs import Run, Tracker


def export(target: Path, written: Path, selection: Selection, tracker: Tracker) -> None:
    """Write the SST-2 study's layout: `results/` with predictions, table and pictures, `models/` with a folder per model.

    What is gone from the tracking store, or damaged, is said, and the rest is written.

    Args:
        written: Folder of the comparison's own files.

    Raises:
        ConfigError: `target` holds files that this project did not write where it would.
        SystemFailureError: `target` cannot be written.
    """
    with exporting(target) as (scratch, keep):
        for file in written.iterdir():
            shutil.copy(file, scratch / "results")
        for name, run in selection.file_names().items():
            predictions = f"results/{name}_test_outputs.csv"
            if not _export_predictions(run, scratch / predictions, tracker):
                keep.add(predictions)  # an earlier export may hold the only copy
            if was_trained_here(run):
                _export_model(run, scratch / "models" / name, tracker)


def _export_predictions(run: Run, target: Path, tracker: Tracker) -> bool:
    """Write what a run predicted; False where it is not there any more."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = tracker.download(run.run_id, "predictions.csv", Path(scratch))
        except (RunError, DamageError) as error:
            say(f"Not exported: predictions of {name_with_seed(run)}: {error}")
            return False
        # As text: a class called 01 is not 1, and one called NA is not missing.
        predictions = pd.read_csv(file, dtype=str, keep_default_na=False)
    columns = [name for name in ("sentence", "sentence_pair", "gold", "pred") if name in predictions]
    target.write_text(write_csv(predictions[columns]), encoding="utf-8", newline="")
    return True


def _export_model(run: Run, target: Path, tracker: Tracker) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            shutil.copytree(fetch_model(tracker, run, Path(scratch)), target)
        except (RunError, DamageError) as error:
            say(f"Not exported: model of {name_with_seed(run)}: {error}")
