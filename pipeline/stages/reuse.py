"""Finished trainings that need not be made again."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.comparison.rows import is_reproduction
from pipeline.stages.inputs import TrainingInputs
from pipeline.tracking.runs import Run, RunStore
from pipeline.training.meters import MIB
from pipeline.training.precision import Precision

_BUDGET = ("tuned_trials", "tuning_budget")
"""Tags by which rows tell settings that were searched."""


def find_finished(
    store: RunStore,
    inputs: TrainingInputs,
    precision: Precision,
    *,
    tuned: Mapping[str, str] | None = None,
    below: str | None = None,
) -> Run | None:
    """The newest finished run that computed the same, its model still there.

    The same is: equal configuration, number of processes, data, base and code.

    What `reproduce` made again is passed over: it is evidence about another run.

    Args:
        tuned: Tags of the search that chose the settings: a row of the table tells settings of one budget from those of
            another, and from untuned ones.
        below: Only runs of this parent.
    """
    wanted = {
        "stage": "train",
        "config_hash": inputs.config_hash(precision),
        "num_processes": str(inputs.config.num_processes),  # with dropout another number is another draw
        "data_fingerprint": inputs.prepared.manifest.fingerprint,
        "base_sha256": inputs.base_sha256,
        "code_version": inputs.code_version,
    }
    for run in store.search(wanted):
        if (
            run.status == "FINISHED"
            and not is_reproduction(run)
            and all(run.tags.get(name) == (tuned or {}).get(name) for name in _BUDGET)
            and below in (None, run.parent_id)
            and _holds_model(store, run)
        ):
            return run
    return None


def _holds_model(store: RunStore, run: Run) -> bool:
    """Whether the model lies in the store as large as it was written."""
    written = run.metrics.get("cost/artifact_mb", 0.0) * MIB
    return written > 0 and math.isclose(store.model_bytes(run.run_id), written, abs_tol=0.5)
