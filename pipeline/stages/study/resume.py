"""Reuse finished trainings and best trials, and resume the run of an interrupted study."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from pipeline.atomic_io import replace_text
from pipeline.config.identity import identify
from pipeline.errors import RunError, StoreAwayError
from pipeline.hashing import digest, read_with_checksum, with_checksum
from pipeline.stages.processes.workers import hold_lock
from pipeline.stages.progress import say
from pipeline.stages.study.plan import StudyPlan
from pipeline.tracking.run_kinds import count_at_once, is_reproduction, is_trial
from pipeline.tracking.runs import Run, RunLogger, RunStore, Tracker, close_unfinished, closing
from pipeline.tracking.tags import Tag
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.meters import MIB
from pipeline.training.precision import Precision

_BUDGET = (Tag.TUNED_TRIALS, Tag.TUNING_BUDGET)
"""Tags by which rows tell settings that were searched."""


def find_finished(
    store: RunStore,
    inputs: TrainingInputs,
    precision: Precision,
    *,
    tuned: Mapping[str, str] | None = None,
    below: str | None = None,
    workers: int | None = None,
) -> Run | None:
    """The newest finished run that computed the same, its model still there; else the best trial of the search that did.

    The same is: equal configuration, number of processes, data, base and code.

    What `reproduce` made again is passed over: it is evidence about another run.

    Args:
        tuned: Tags of the search that chose the settings: a row of the table tells settings of one budget from those of
            another, and from untuned ones.
        below: Only runs of this parent, and trials of its searches.
        workers: How many are trained at once: a trial counts if as many were. Without it none does.
    """
    tuned = tuned or {}
    for run in _find_equal(store, "train", inputs, precision, tuned):
        if below is None or below == _study_of(run, store):
            return run
    for run in _find_equal(store, "trial", inputs, precision, tuned) if tuned and workers else ():
        is_alone = "cost/grid_points" not in run.metrics  # those that trained at once in one process are equal but for rounding
        if is_alone and count_at_once(run) == workers and (below is None or below == _study_of(run, store)):
            return run
    return None


def _study_of(run: Run, store: RunStore) -> str | None:
    """The run that a training stands below; of a trial the one that its search does."""
    return store.get(run.parent_id).parent_id if is_trial(run) and run.parent_id else run.parent_id


def _find_equal(
    store: RunStore, stage: str, inputs: TrainingInputs, precision: Precision, tuned: Mapping[str, str]
) -> Iterator[Run]:
    """Finished runs of a stage that computed the same after the same budget, with their models; the newest first."""
    wanted: dict[str, str] = {
        "stage": stage,
        "config_hash": inputs.config_hash(precision),
        Tag.NUM_PROCESSES: str(inputs.config.num_processes),  # with dropout another number is another draw
        "data_fingerprint": inputs.prepared.manifest.fingerprint,
        Tag.CODE_VERSION: inputs.code_version,
    }
    if inputs.base_sha256:  # a baseline has none
        wanted[Tag.BASE_SHA256] = inputs.base_sha256
    for run in store.search(wanted):
        if (
            run.status == "FINISHED"
            and not is_reproduction(run)
            and all(run.tags.get(name) == tuned.get(name) for name in _BUDGET)
            and _holds_model(store, run)
        ):
            yield run


def _holds_model(store: RunStore, run: Run) -> bool:
    """Whether the model lies in the store as large as it was written."""
    written = run.metrics.get("cost/artifact_mb", 0.0) * MIB
    return written > 0 and math.isclose(store.model_bytes(run.run_id), written, abs_tol=0.5)


@contextlib.contextmanager
def open_study(plan: StudyPlan, tracker: Tracker) -> Iterator[RunLogger]:
    """The study's run: that of an interrupted study of the same plan, or a new one; closed at the end.

    Raises:
        PipelineError: The same study is running.
    """
    note, lock = _note_of(plan)
    with hold_lock(lock, "study"):
        logger = _open(plan, note, tracker)
        with closing(logger):
            try:
                replace_text(note, with_checksum({"run_id": logger.run_id, "identity": plan.identity}), alone=True)
                yield logger
            except StoreAwayError:  # the same command goes on where it was, as after an interruption
                raise
            except Exception:  # it came to an end, if a bad one
                note.unlink(missing_ok=True)
                raise
        note.unlink(missing_ok=True)


def find_interrupted_study(plan: StudyPlan, store: RunStore) -> str | None:
    """The run of a study that the same command would go on with; nothing is written."""
    note, _ = _note_of(plan)
    try:
        noted = cast(dict[str, str], read_with_checksum(note.read_text(encoding="utf-8")))
        same = noted["identity"] == plan.identity and store.get(noted["run_id"]).status != "FINISHED"
    except (OSError, ValueError, KeyError, TypeError, RunError):
        return None
    return noted["run_id"] if same else None


def _note_of(plan: StudyPlan) -> tuple[Path, Path]:
    """Where a study's run is noted until it ends, and the lock that whoever does it holds."""
    # By what was asked for, not by what comes of it: with changed data or code the old study has to be found, too, and closed.
    name = digest([identify(plan.config), plan.config.recipe])[:16]
    folder = Path(plan.config.cache_dir) / "studies"
    return folder / f"{name}.json", folder / f"{name}.lock"


def _open(plan: StudyPlan, note: Path, tracker: Tracker) -> RunLogger:
    title = f"study-{Path(plan.config.recipe).stem}"
    noted: dict[str, str] = {}
    try:
        noted = cast(dict[str, str], read_with_checksum(note.read_text(encoding="utf-8")))
    except FileNotFoundError:
        pass
    except ValueError:  # or of a version that wrote no checksum
        say(f"{note} is damaged, or of another version: the study begins a run of its own, and reuses what is finished.")
    try:
        old = tracker.get(noted["run_id"])
    except (KeyError, TypeError, RunError):  # there is none, or it is in another store, or was deleted
        return tracker.start(title)
    if old.status == "FINISHED":
        return tracker.start(title)
    close_unfinished(tracker, old.run_id, "interrupted", "KILLED")
    same = noted.get("identity") == plan.identity
    if same and tracker.assigned_run_id() in (None, old.run_id):
        say(f"Continuing study {old.run_id}, which was interrupted.")
        return tracker.reopen(old.run_id)
    logger = tracker.start(title)
    if same:  # what it has made is this study's own, which is all that counts with --force
        for run in tracker.search():
            if run.parent_id == old.run_id:
                tracker.set_parent(run.run_id, logger.run_id)
    why = "continued" if same else "with other data, code, model, processes or --force made anew"
    tracker.open_for_update(old.run_id).finish("KILLED", f"interrupted; {why} by run {logger.run_id}")
    return logger
