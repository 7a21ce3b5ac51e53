"""What the rest of the code knows of experiment tracking: write one run, read any. No tracker's own types here."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.errors import DamageError, PipelineError, RunError, StoreAwayError, StoreError
from pipeline.failures import foreseen
from pipeline.hashing import hash_file
from pipeline.interruption import held
from pipeline.registry import OBJECTIVES
from pipeline.tracking.model_registry.versions import ModelRegistry
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.tags import CHECKSUM, under_todays_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

_PATIENCE = "FAIRTUNE_STORE_PATIENCE_SECONDS"
_USUAL_PATIENCE = 600.0


def wait_for_store(seconds: float) -> None:
    """Wait so long for a store that is away, here and in processes that are started from here."""
    os.environ[_PATIENCE] = str(seconds)


def store_patience() -> float:
    """How many seconds a store may be away."""
    return float(os.environ.get(_PATIENCE, _USUAL_PATIENCE))


@dataclass(frozen=True)
class Run:
    """One run as it stands in the store; what an older version wrote has today's names here, of tags and of the objective."""

    run_id: str
    name: str
    status: Status
    start_time: int
    """Milliseconds since 1970."""
    parent_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The one place where names of older stores become today's."""
        object.__setattr__(self, "tags", under_todays_names(self.tags))
        if "objective" in self.params:
            objective = OBJECTIVES.current(self.params["objective"])
            object.__setattr__(self, "params", {**self.params, "objective": objective})

    @property
    def stage(self) -> str:
        """The stage that made the run; empty if it is not one of ours."""
        return self.tags.get("stage", "")


class RunLogger(Protocol):
    """Writes one run."""

    @property
    def run_id(self) -> str:
        """The run's id in the store."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record hyperparameters; None is left out."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record measured numbers, all at one step."""

    def log_outcome(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record what came out, once: an attempt that was interrupted afterwards may have done so, and come to the same."""

    def open_outbox(self) -> Outbox:
        """What records metrics by step without waiting for a store that is away."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""

    def log_text(self, text: str, path: str) -> None:
        """Record a text as the artifact `path`."""

    def log_texts(self, texts: Mapping[str, str]) -> None:
        """Record texts, by the artifacts that they become: sooner than one by one."""

    def log_figure(self, figure: Figure, path: str) -> None:
        """Record a picture as the artifact `path`."""

    def log_file(self, file: Path) -> None:
        """Record a file under its own name."""

    def log_model(self, folder: Path, packages: Sequence[str] = ()) -> None:
        """Record a saved model below the artifact `model/`, servable where `packages` are installed, too."""

    def update_model(self) -> None:
        """Bring what the run has measured so far onto its model in the tracker's list of models, if it has one."""

    def log_dataset(self, name: str, source: str, sha256: str, context: str) -> None:
        """Record which data went in, as `training`, `validation` or `test`."""

    def watch_system(self) -> AbstractContextManager[None]:
        """Record what the machine does while the block lasts, as metrics below `system/`."""

    def finish(self, status: Status, detail: str = "") -> None:
        """Close the run; `detail` becomes the tag `status_detail`."""


class RunStore(Protocol):
    """Reads runs."""

    @property
    def tracking_uri(self) -> str:
        """Where the runs are, for people to read."""

    def get(self, run_id: str) -> Run:
        """One run.

        Raises:
            RunError: There is none of that id.
        """

    def search(self, tags: Mapping[str, str] | None = None) -> list[Run]:
        """All runs that carry the tags, the newest first."""

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of every record of a metric, in order of steps."""

    def read_histories(self, run_ids: Sequence[str], metric: str) -> dict[str, list[tuple[int, float]]]:
        """Run id -> what `history` gives, of several runs at once."""

    def open_artifact(self, run: Run, path: str) -> AbstractContextManager[Path]:
        """Where an artifact can be read while the block lasts; what runs hold many of, such as predictions, is not copied.

        Raises:
            RunError: The run has no such artifact.
            DamageError: It is a text, and is not what was recorded.
        """

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        """Bring an artifact below `folder`; returns where it is.

        Raises:
            RunError: The run has no such artifact.
            DamageError: It is a text, and is not what was recorded.
        """

    def download_model(self, run_id: str, folder: Path) -> Path:
        """Bring the run's model below `folder`; returns the folder that `RunLogger.log_model` was given.

        Raises:
            RunError: The run has no model.
        """

    def open_model(self, run_id: str) -> AbstractContextManager[Path]:
        """Where that folder can be read while the block lasts; what lies on this machine is not copied.

        Raises:
            RunError: The run has no model.
        """

    def open_registered(self, address: str) -> AbstractContextManager[Path]:
        """Where a model of the registry can be read while the block lasts.

        Args:
            address: Such as `models:/NAME/2` or `models:/NAME@champion`.

        Raises:
            RunError: There is none.
        """

    def model_bytes(self, run_id: str) -> int:
        """How large the run's model is as it lies in the store; 0 where it has none."""

    def has_artifact(self, run_id: str, path: str) -> bool:
        """Whether the run has that artifact still."""

    def artifact_address(self, run_id: str, path: str) -> str:
        """Where an artifact lies: a path, where it is on this machine, else an address for people to read."""

    def web_address(self, run_id: str, page: str = "") -> str:
        """Where a browser shows the run, or a page of it such as `artifacts`; empty where no browser does."""

    def ui_command(self) -> str:
        """The command that serves the store at that address; empty where a server does already, or no browser shows it."""

    def is_of_folder(self) -> bool:
        """Whether commands that are typed in this folder use the store by themselves."""


class Tracker(RunStore, Protocol):
    """Reads runs, and starts or reopens runs to write to."""

    @property
    def models(self) -> ModelRegistry:
        """The registered models beside the runs."""

    def start(self, name: str, parent_id: str | None = None, tags: Mapping[str, str] | None = None) -> RunLogger:
        """A new run; below `parent_id` where given, else the one that `mlflow run` has made for this process, if any.

        Args:
            tags: On the run from its first moment, so that it is found again if we are killed in the next.
        """

    def reopen(self, run_id: str) -> RunLogger:
        """Go on with a run that exists; it counts as running until it is finished again."""

    def open_for_update(self, run_id: str) -> RunLogger:
        """Write to a run that exists and leave its status as it is."""

    def set_parent(self, run_id: str, parent_id: str) -> None:
        """Put a run that exists below another parent."""

    def assigned_run_id(self) -> str | None:
        """The id of the run that `mlflow run` has made for this process, if any."""


def checksum_tag(path: str, text: str) -> dict[str, str]:
    """The tag by which a text that is recorded as the artifact `path` is known when it is read back."""
    return {CHECKSUM + path: hashlib.sha256(text.encode()).hexdigest()}


def is_intact(run: Run, path: str, file: Path) -> bool:
    """Whether the file is what its run says of it; older runs say nothing."""
    sha256 = run.tags.get(CHECKSUM + path)
    return sha256 is None or not file.is_file() or hash_file(file) == sha256


def check_artifact(run: Run, path: str, file: Path) -> Path:
    """The file, held against the checksum that its run has of it; older runs have none.

    Raises:
        DamageError: It is not what was recorded.
    """
    if is_intact(run, path, file):
        return file
    again = f"`python -m pipeline evaluate --run-id {run.run_id} --force true` writes it anew"
    raise DamageError(
        f"Run {run.run_id}: its artifact {path} is damaged, it is not what was recorded. Bring it back from a copy, or "
        f"{again if path == 'predictions.csv' else 'make the run again'}."
    )


def fresh_params(present: Mapping[str, str], params: Mapping[str, object]) -> dict[str, str]:
    """What has to be recorded of `params` beside what a run holds `present`.

    A parameter cannot be changed. What `mlflow run` logged as raw text stays if it means the same; else the value that was
    used goes by NAME_resolved.
    """
    fresh = {}
    for name, value in params.items():
        if value is None or (name in present and _same(present[name], str(value))):
            continue
        fresh[f"{name}_resolved" if name in present else name] = str(value)
    return fresh


def _same(left: str, right: str) -> bool:
    """Whether two texts mean the same value: `2e-05` and `2e-5`, `True` and `true`."""
    if left.strip().lower() == right.strip().lower():
        return True
    try:
        return float(left) == float(right)
    except ValueError:
        return False


@contextlib.contextmanager
def closing(logger: RunLogger, then: Callable[[], None] = lambda: None) -> Iterator[RunLogger]:
    """Close the run at the end: FINISHED, FAILED with the reason, or KILLED where it was interrupted.

    Args:
        then: Called once it is FINISHED; no signal comes between.
    """
    try:
        yield logger
    except KeyboardInterrupt as error:
        _close(logger, "KILLED", _describe_interruption(error))
        raise
    except PipelineError as error:
        if isinstance(error, StoreAwayError):
            wait_for_store(0.0)  # it was waited for
        _close(logger, "FAILED", str(foreseen(error) or error))
        raise
    except BaseException as error:
        _close(logger, "FAILED", str(foreseen(error) or f"{type(error).__name__}: {error}"))
        raise
    with held():
        logger.finish("FINISHED")
        then()


_OPENED: dict[str, RunLogger] = {}
"""Runs that this process has begun, or goes on with, and has not finished."""


def note_opened(logger: RunLogger) -> RunLogger:
    """Keep in mind that this process has to close the run."""
    _OPENED[logger.run_id] = logger
    return logger


def note_finished(run_id: str) -> None:
    """Nothing is left to close."""
    _OPENED.pop(run_id, None)


def close_opened(error: KeyboardInterrupt) -> None:
    """Close what an interruption left open between the opening of a run and the block that closes it."""
    for logger in list(_OPENED.values()):
        _close(logger, "KILLED", _describe_interruption(error))


def _describe_interruption(error: KeyboardInterrupt) -> str:
    return f"interrupted by {error}" if str(error) else "interrupted"


def _close(logger: RunLogger, status: Status, detail: str) -> None:
    """Close the run if the store can be reached; what went wrong before is what is said, and not that it cannot."""
    with contextlib.suppress(StoreError), held():
        logger.finish(status, detail)


def close_unfinished(tracker: Tracker, parent_id: str, reason: str, status: Status = "FAILED") -> None:
    """Mark whatever below a run still counts as running: its process died before it could."""
    for run in tracker.search():
        if run.parent_id == parent_id and run.status == "RUNNING":
            tracker.open_for_update(run.run_id).finish(status, reason)


def only_folder(model: Path, run_id: str) -> Path:
    """The folder that was logged as the run's model, inside the downloaded one.

    Raises:
        RunError: There is none: the artifacts were deleted by hand, or only partly copied.
    """
    folders = [entry for entry in model.iterdir() if entry.is_dir()]
    if len(folders) != 1:
        raise RunError(
            f"Run {run_id}: its model holds {len(folders)} folders in place of one. Was it deleted or moved? Train it again."
        )
    return folders[0]
