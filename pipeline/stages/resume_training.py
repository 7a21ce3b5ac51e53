"""Resume an interrupted training: find what is left on disk, and the run that continues it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.atomic_io import replace_text
from pipeline.errors import ConfigError, RunError
from pipeline.hashing import read_with_checksum, with_checksum
from pipeline.stages.processes.workers import hold_lock
from pipeline.stages.progress import say
from pipeline.tracking.runs import RunLogger, Tracker
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.precision import Precision, choose_precision


@dataclass
class Attempt:
    """What is left on disk of an interrupted training of the same identity, and where this one keeps its own."""

    checkpoints: CheckpointFolder
    run_id: str | None = None
    precision: Precision | None = None
    goes_on: bool = False
    """Whether it was begun by the same code."""

    @property
    def note_file(self) -> Path:
        """Where it is written down which run this is."""
        return self.checkpoints.path / "run.json"

    def choose_precision(self, option: str) -> Precision:
        """That of the interrupted attempt, else what the option means here.

        Raises:
            ConfigError: This machine does not compute in it.
        """
        try:
            return choose_precision(self.precision or option)
        except ConfigError as error:
            if self.precision is None:
                raise
            raise ConfigError(
                f"{self.checkpoints.path} holds an interrupted training in {self.precision}, which cannot go on here: {error} "
                "Go on with it on a machine like the one it began on, or delete that folder to begin anew."
            ) from error

    def note(self, run_id: str, precision: Precision, code_version: str) -> None:
        """Write down which run this is, for whoever has to go on with it."""
        self.run_id, self.precision, self.goes_on = run_id, precision, True
        noted = {"run_id": run_id, "precision": precision, "code_version": code_version}
        replace_text(self.note_file, with_checksum(noted))

    def read(self, code_version: str) -> None:
        """Take over what an earlier attempt wrote down: of one by other code no more than which run it was.

        Raises:
            ValueError: It is damaged.
        """
        with contextlib.suppress(FileNotFoundError, KeyError, TypeError):
            noted = cast(dict[str, Any], read_with_checksum(self.note_file.read_text(encoding="utf-8")))
            run_id, same = noted["run_id"], noted["code_version"] == code_version
            self.run_id, self.goes_on, self.precision = run_id, same, noted["precision"] if same else None


@contextlib.contextmanager
def claim_attempt(inputs: TrainingInputs, reproduces: str = "") -> Iterator[Attempt]:
    """What an earlier attempt at the training left, for this process alone.

    Args:
        reproduces: The run that is made again: it has its own, as what another attempt left would not be made again.
    """
    checkpoints = _folder(inputs, reproduces)
    with hold_lock(checkpoints.path.with_suffix(".lock"), "training"):
        attempt = Attempt(checkpoints)
        try:
            attempt.read(inputs.code_version)
        except ValueError:  # or of a version that wrote no checksum
            say(
                f"{attempt.note_file} is damaged, or of another version: which training it was is not known, so it begins anew."
            )
            checkpoints.delete()
        if attempt.goes_on:
            for damage in checkpoints.drop_damaged():
                say(damage)
        yield attempt


def lock_of(inputs: TrainingInputs) -> Path:
    """What a process holds that trains this."""
    return _folder(inputs).path.with_suffix(".lock")


def find_interrupted(inputs: TrainingInputs) -> int | None:
    """The step of the last checkpoint from which this training would go on; None where nothing is left of an earlier one."""
    attempt = Attempt(_folder(inputs))
    with contextlib.suppress(ValueError):
        attempt.read(inputs.code_version)
    return attempt.checkpoints.find_usable() if attempt.goes_on else None


def drop_left_behind(inputs: TrainingInputs, run_id: str) -> None:
    """Delete the checkpoints of a run that has finished, if its process was killed before it could."""
    attempt = Attempt(_folder(inputs))
    with contextlib.suppress(ValueError):
        attempt.read(inputs.code_version)
    if attempt.run_id == run_id:
        attempt.checkpoints.delete()


def open_run(
    inputs: TrainingInputs, attempt: Attempt, tracker: Tracker, parent_id: str | None, tags: Mapping[str, str] | None
) -> tuple[RunLogger, bool]:
    """The run to write to, and whether an older run's records have to be written again because it is another run."""
    title = f"{inputs.config.title}-seed{inputs.config.seed}"
    if attempt.run_id is None:
        return tracker.start(title, parent_id, tags), False
    if not attempt.goes_on:
        return _begin_anew(attempt, attempt.run_id, tracker, title, parent_id, tags), False
    try:
        old = tracker.get(attempt.run_id)
    except RunError:  # another store, or it was deleted: the work is still good, its records are written again
        logger = tracker.start(title, parent_id, tags)
        logger.set_tags({"resumes": attempt.run_id})
        return logger, True
    if old.status == "FINISHED":
        attempt.checkpoints.delete()
        return tracker.start(title, parent_id, tags), False
    steps = attempt.checkpoints.steps()
    where = f"step {steps[-1]}" if steps else "the start: there is no checkpoint"
    say(f"Continuing run {old.run_id} from {where}.")
    if parent_id == old.parent_id and tracker.assigned_run_id() in (None, old.run_id):
        return tracker.reopen(old.run_id), False
    logger = tracker.start(title, parent_id, tags)
    logger.set_tags({"resumes": old.run_id})
    tracker.reopen(old.run_id).finish("KILLED", f"continued by run {logger.run_id}")
    return logger, True


def _begin_anew(
    attempt: Attempt, old_id: str, tracker: Tracker, title: str, parent_id: str | None, tags: Mapping[str, str] | None
) -> RunLogger:
    """A new run in place of one that was interrupted when the code was another: half of each would be the result of neither."""
    logger = tracker.start(title, parent_id, tags)
    with contextlib.suppress(RunError):
        if old_id != logger.run_id and tracker.get(old_id).status != "FINISHED":
            say(f"The code of this training has changed since run {old_id} was interrupted: it begins anew.")
            tracker.open_for_update(old_id).finish("KILLED", f"interrupted; made anew with changed code by run {logger.run_id}")
    attempt.checkpoints.delete()
    return logger


def logged_points(tracker: Tracker, run_id: str) -> frozenset[tuple[str, int]]:
    """(metric, step) of everything by step that a reopened run holds."""
    names = [name for name in tracker.get(run_id).metrics if name.startswith(("train/", "val/"))]
    return frozenset((name, step) for name in names for step, _ in tracker.history(run_id, name))


def replay_history(attempt: Attempt, logger: RunLogger, already: frozenset[tuple[str, int]]) -> None:
    """Write what had been reported up to the last checkpoint into the run that carries it on, but for what it holds already.

    The run itself lacks what was measured while the store was away.
    """
    for step, metrics in attempt.checkpoints.history():
        if missing := {name: value for name, value in metrics.items() if (name, step) not in already}:
            logger.log_metrics(missing, step)


def _folder(inputs: TrainingInputs, reproduces: str = "") -> CheckpointFolder:
    name = inputs.identity[:16] + (f"-of-{reproduces}" if reproduces else "")
    return CheckpointFolder(Path(inputs.config.cache_dir) / "checkpoints" / name)
