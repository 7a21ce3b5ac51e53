"""Finished trainings that need not be made again, and how a study says what it planned, took and left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from pipeline.comparison.selection import is_reproduction
from pipeline.stages.inputs import TrainingInputs
from pipeline.tracking.runs import Run, RunLogger, RunStore
from pipeline.training.meters import MIB
from pipeline.training.precision import Precision

_BUDGET = ("tuned_trials", "tuning_budget")
"""Tags by which rows tell settings that were searched."""
# Tags of a study, one a run or a strategy: a single tag could not hold them all. Planned ones go by number, as an entry may
# have any name.
_REUSED, _UNFIT, _PLANNED = "reused/", "not_run/", "planned/"


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


def note_planned(study: RunLogger, planned: Mapping[str, Sequence[int]]) -> None:
    """Write down which strategies will be trained, by what the study calls them, with which seeds (first and number)."""
    noted = [json.dumps([title, seeds[0], len(seeds)], ensure_ascii=False) for title, seeds in planned.items()]
    study.set_tags({f"{_PLANNED}{number}": text for number, text in enumerate(noted)})


def planned_in(study: Run) -> dict[str, range]:
    """Strategies that a study wanted to train, in its order -> with which seeds; none of a study that did not say."""
    noted = {int(name.removeprefix(_PLANNED)): text for name, text in study.tags.items() if name.startswith(_PLANNED)}
    plans = [json.loads(noted[number]) for number in sorted(noted)]
    return {title: range(first, first + count) for title, first, count in plans}
