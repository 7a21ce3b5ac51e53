"""An interrupted study goes on in the run that it had, and two processes never work on the same study."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from pipeline.checksums import read_with_checksum, with_checksum
from pipeline.data.scratch import replace_text
from pipeline.errors import RunError
from pipeline.hashing import digest
from pipeline.identity import identify
from pipeline.stages.claim import claim
from pipeline.stages.plan import StudyPlan
from pipeline.stages.progress import say
from pipeline.tracking.runs import RunLogger, Tracker, close_unfinished, closing


@contextlib.contextmanager
def open_study(plan: StudyPlan, tracker: Tracker) -> Iterator[RunLogger]:
    """The study's run: that of an interrupted study of the same plan, or a new one; closed at the end.

    Raises:
        PipelineError: The same study is running.
    """
    folder = Path(plan.config.cache_dir) / "studies"
    # By what was asked for, not by what comes of it: with changed data or code the old study has to be found, too, and closed.
    name = digest([identify(plan.config), plan.config.recipe])[:16]
    note = folder / f"{name}.json"
    with claim(folder / f"{name}.lock", "study"):
        logger = _open(plan, note, tracker)
        with closing(logger):
            try:
                replace_text(note, with_checksum({"run_id": logger.run_id, "identity": plan.identity}))
                yield logger
            except Exception:  # it came to an end, if a bad one; after an interruption the note stays
                note.unlink(missing_ok=True)
                raise
        note.unlink(missing_ok=True)


def _open(plan: StudyPlan, note: Path, tracker: Tracker) -> RunLogger:
    title = f"study-{plan.config.recipe}"
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
    if same and tracker.given_run_id() in (None, old.run_id):
        say(f"Continuing study {old.run_id}, which was interrupted.")
        return tracker.reopen(old.run_id)
    logger = tracker.start(title)
    why = "continued" if same else "with other data, code, model, processes or --force made anew"
    tracker.amend(old.run_id).finish("KILLED", f"interrupted; {why} by run {logger.run_id}")
    return logger
