"""Every run as one row of a DataFrame."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.evaluation.metric import list_metrics
from pipeline.tracking.runs import Run, RunStore
from pipeline.tracking.tags import PREFIX, Tag

if TYPE_CHECKING:
    import pandas as pd

# Our tags, but for those with a slash in their name and lists. docs/reference/runs.md explains them.
_TAGS = (
    "stage",
    "strategy",
    Tag.STRATEGY_ARGS,
    Tag.STRATEGY_REASON,
    Tag.ENTRY,
    "recipe",
    "data_fingerprint",
    "config_hash",
    Tag.SETTINGS_HASH,
    Tag.BASE_SHA256,
    Tag.INFERRED_FAMILY,
    "git_commit",
    Tag.CODE_VERSION,
    Tag.TEST_CODE_VERSION,
    Tag.HARDWARE,
    Tag.NUM_PROCESSES,
    Tag.WORKERS,
    Tag.FROZEN_PREFIX_CACHE,
    Tag.PREDICT_SETTING,
    Tag.TRANSFER_DATASET,
    Tag.TRANSFER_FINGERPRINT,
    Tag.TRANSFER_LABELS,
    Tag.TRANSFER_TEXT_COLUMN,
    Tag.TRANSFER_LABEL_COLUMN,
    Tag.TRANSFER_CODE_VERSION,
    Tag.EVALUATES,
    Tag.REPRODUCES,
    Tag.REPRODUCTION,
    "resumes",
    Tag.TUNED_BY,
    Tag.TUNED_TRIALS,
    Tag.TUNING_BUDGET,
    Tag.SEARCH,
    Tag.EXECUTOR,
    Tag.TRIAL,
    Tag.FAILED_TRIALS,
    Tag.PRUNED_AT,
    Tag.BEST_RUN_ID,
    "status_detail",
)
_COUNTS = frozenset({Tag.FAILED_TRIALS, Tag.NUM_PROCESSES, Tag.WORKERS, Tag.TUNED_TRIALS, Tag.TRIAL, Tag.PRUNED_AT})
"""Tags that are numbers; others may look like one, such as a commit."""

_FIXED = ("run_id", "run_name", "status", "start_time", "parent_run_id")
# Columns that are there whatever the store holds, so that the same lines of code work before the first evaluation.
_ALWAYS = (
    *_FIXED,
    "stage",
    "strategy",
    "reproduces",
    "learning_rate",
    *(f"{split}/{metric.name}" for split in ("val", "test") for metric in list_metrics("class")),
    "model/trainable_percent",
    "cost/train_seconds",
)


def load_results(tracking_uri: str | None = None) -> pd.DataFrame:
    """A row per run of ours, the newest first, from the tracking store of the environment or of `tracking_uri`.

    Metrics and hyperparameters are columns under their plain names (`test/f1_macro`, `learning_rate`), values typed; tags
    without `fairtune.` before theirs.

    Raises:
        StoreError: The store cannot be read.
    """
    with _uncollected():
        from pipeline.tracking.mlflow_runs import MlflowTracker

        return frame_of(MlflowTracker(tracking_uri))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Python's garbage collector rests: importing MLflow makes a million objects that stay, and it would walk over them all."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def frame_of(store: RunStore) -> pd.DataFrame:
    """A row per run of ours in the store, the newest first."""
    import pandas as pd

    runs = [run for run in store.search() if run.stage]
    frame = pd.DataFrame([_row(run) for run in runs])
    frame = frame.reindex(columns=[*frame.columns, *(name for name in _ALWAYS if name not in frame)])
    if runs:
        frame["start_time"] = pd.to_datetime(frame["start_time"], unit="ms", utc=True)
    return frame


def _row(run: Run) -> dict[str, object]:
    fixed: dict[str, object] = {
        "run_id": run.run_id,
        "run_name": run.name,
        "status": run.status,
        "start_time": run.start_time,
        "parent_run_id": run.parent_id,
    }
    params = {name: _typed(value) for name, value in run.params.items()}
    tags = {
        name.removeprefix(PREFIX): _typed(run.tags[name]) if name in _COUNTS else run.tags[name]
        for name in _TAGS
        if name in run.tags
    }
    # What was fixed comes first and stays: `evaluate` has a parameter called `run_id`, too, which the tag `evaluates` holds.
    return {**fixed, **params, **tags, **run.metrics, **fixed}


def _typed(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)  # `mlflow run` logs what was typed
