"""Runs kept in memory: for tests, and for using the stages as a library without a store."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import RunError
from pipeline.tracking.model_registry.versions import ModelVersion
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.runs import Run, RunLogger, Status, check_artifact, checksum_tag, fresh_params, only_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class MemoryTracker:
    """A `Tracker` whose runs live as long as it does; artifacts go to a temporary folder."""

    def __init__(self) -> None:
        """Start without any run."""
        self.runs: dict[str, Run] = {}
        self.histories: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        self.datasets: dict[str, list[dict[str, str]]] = defaultdict(list)
        self.models = MemoryModels()
        self.tracking_uri = "memory"
        self._folder = tempfile.TemporaryDirectory()

    def start(self, name: str, parent_id: str | None = None, tags: Mapping[str, str] | None = None) -> RunLogger:
        """A new run."""
        run_id = uuid.uuid4().hex
        self.runs[run_id] = Run(run_id, name, "RUNNING", time.time_ns() // 1_000_000, parent_id, dict(tags or {}))
        return MemoryLogger(self, run_id)

    def reopen(self, run_id: str) -> RunLogger:
        """Go on writing to a run that exists."""
        tags = {name: value for name, value in self.get(run_id).tags.items() if name != "status_detail"}
        self.update(run_id, status="RUNNING", tags=tags)
        return MemoryLogger(self, run_id)

    def open_for_update(self, run_id: str) -> RunLogger:
        """Write to a run that exists and leave its status as it is."""
        self.get(run_id)
        return MemoryLogger(self, run_id)

    def set_parent(self, run_id: str, parent_id: str) -> None:
        """Put a run below another parent."""
        self.update(run_id, parent_id=parent_id)

    def assigned_run_id(self) -> str | None:
        """None: nobody makes runs for us here."""
        return None

    def get(self, run_id: str) -> Run:
        """One run."""
        if run_id not in self.runs:
            raise RunError(f"There is no run {run_id!r} in memory. Give the id of one of its runs.")
        return self.runs[run_id]

    def search(self, tags: Mapping[str, str] | None = None) -> list[Run]:
        """All runs that carry the tags, the newest first."""
        wanted = (tags or {}).items()
        return [run for run in reversed(self.runs.values()) if all(run.tags.get(k) == v for k, v in wanted)]

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Every record of a metric."""
        return sorted(self.histories[run_id, metric], key=lambda point: point[0])

    def read_histories(self, run_ids: Sequence[str], metric: str) -> dict[str, list[tuple[int, float]]]:
        """Those of several runs."""
        return {run_id: self.history(run_id, metric) for run_id in run_ids}

    @contextlib.contextmanager
    def open_artifact(self, run: Run, path: str) -> Iterator[Path]:
        """A copy of it."""
        with tempfile.TemporaryDirectory() as scratch:
            yield self.download(run.run_id, path, Path(scratch))

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        """Copy an artifact below `folder`."""
        source = self.artifact(run_id, path)
        if not source.exists():
            raise RunError(f"Run {run_id} has no artifact {path!r}.")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            return Path(shutil.copytree(source, target))
        return check_artifact(self.get(run_id), path, Path(shutil.copy(source, target)))

    def download_model(self, run_id: str, folder: Path) -> Path:
        """Copy the model below `folder`."""
        return only_folder(self.download(run_id, "model", folder), run_id)

    @contextlib.contextmanager
    def open_model(self, run_id: str) -> Iterator[Path]:
        """A copy of it."""
        with tempfile.TemporaryDirectory() as scratch:
            yield self.download_model(run_id, Path(scratch))

    @contextlib.contextmanager
    def open_registered(self, address: str) -> Iterator[Path]:
        """A copy of it."""
        name, _, which = address.removeprefix("models:/").replace("@", "/@").partition("/")
        found = (
            self.models.aliased(name, which[1:])
            if which.startswith("@")
            else next((version for version in self.models.versions(name) if str(version.number) == which), None)
        )
        if found is None:
            raise RunError(f"{address}: there is no such model in memory.")
        with self.open_model(found.run_id) as folder:
            yield folder

    def model_bytes(self, run_id: str) -> int:
        """Size of the model's files."""
        return sum(file.stat().st_size for file in self.artifact(run_id, "model").glob("*/*"))

    def has_artifact(self, run_id: str, path: str) -> bool:
        """Whether it is there."""
        return self.artifact(run_id, path).exists()

    def artifact_address(self, run_id: str, path: str) -> str:
        """In the temporary folder."""
        return str(self.artifact(run_id, path))

    def web_address(self, run_id: str, page: str = "") -> str:
        """Nowhere."""
        return ""

    def ui_command(self) -> str:
        """None."""
        return ""

    def is_of_folder(self) -> bool:
        """No: it ends with this process."""
        return False

    def artifact(self, run_id: str, path: str) -> Path:
        """Where an artifact is or would be."""
        return Path(self._folder.name) / run_id / path

    def update(self, run_id: str, **changes: object) -> None:
        """Replace fields of a run."""
        self.runs[run_id] = dataclasses.replace(self.get(run_id), **changes)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class MemoryLogger:
    """Writes one run of a `MemoryTracker`."""

    tracker: MemoryTracker
    run_id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record hyperparameters."""
        present = self.tracker.get(self.run_id).params
        self.tracker.update(self.run_id, params={**present, **fresh_params(present, params)})

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record measured numbers."""
        for name, value in metrics.items():
            self.tracker.histories[self.run_id, name].append((step, float(value)))
        latest = {name: self.tracker.history(self.run_id, name)[-1][1] for name in metrics}
        self.tracker.update(self.run_id, metrics={**self.tracker.get(self.run_id).metrics, **latest})

    def log_outcome(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record what the run does not hold with the same value."""
        present = self.tracker.get(self.run_id).metrics
        self.log_metrics({name: value for name, value in metrics.items() if present.get(name) != value}, step)

    def open_outbox(self) -> Outbox:
        """Memory is never away."""
        return Outbox(lambda metrics, step, _: self.log_metrics(metrics, step), patience=0.0)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        self.tracker.update(self.run_id, tags={**self.tracker.get(self.run_id).tags, **tags})

    def log_text(self, text: str, path: str) -> None:
        """Record a text."""
        self._target(path).write_text(text, encoding="utf-8")
        self.set_tags(checksum_tag(path, text))

    def log_texts(self, texts: Mapping[str, str]) -> None:
        """Record texts."""
        for path, text in texts.items():
            self.log_text(text, path)

    def log_figure(self, figure: Figure, path: str) -> None:
        """Record a picture."""
        figure.savefig(self._target(path))

    def log_file(self, file: Path) -> None:
        """Record a file."""
        shutil.copy(file, self._target(file.name))

    def log_model(self, folder: Path, packages: Sequence[str] = ()) -> None:
        """Record a saved model."""
        target = self._target("model") / folder.name
        shutil.copytree(folder, target)

    def update_model(self) -> None:
        """It has no list of models beside its runs."""

    def log_dataset(self, name: str, source: str, sha256: str, context: str) -> None:
        """Record which data went in."""
        self.tracker.datasets[self.run_id].append({"name": name, "source": source, "sha256": sha256, "context": context})

    def watch_system(self) -> AbstractContextManager[None]:
        """Nothing is recorded."""
        return contextlib.nullcontext()

    def finish(self, status: Status, detail: str = "") -> None:
        """Close the run."""
        if detail:
            self.set_tags({"status_detail": detail})
        self.tracker.update(self.run_id, status=status)

    def _target(self, path: str) -> Path:
        target = self.tracker.artifact(self.run_id, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


class MemoryModels:
    """A `ModelRegistry` that lives as long as its tracker."""

    def __init__(self) -> None:
        """Start without any model."""
        self._versions: dict[str, list[ModelVersion]] = defaultdict(list)
        self._aliases: dict[tuple[str, str], int] = {}

    def versions(self, name: str) -> list[ModelVersion]:
        """The oldest first."""
        return list(self._versions[name])

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """The version that has the alias."""
        number = self._aliases.get((name, alias))
        return next((version for version in self._versions[name] if version.number == number), None)

    def add(self, name: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """A new version."""
        number = max((version.number for version in self._versions[name]), default=0) + 1
        self._versions[name].append(ModelVersion(name, number, run_id, {str(tag): value for tag, value in tags.items()}))
        return self._versions[name][-1]

    def note(self, version: ModelVersion, tags: Mapping[str, str], description: str | None = None) -> None:
        """Put tags, and if given another description, on a version."""
        mine = self._versions[version.name]
        place = [other.number for other in mine].index(version.number)
        changed = {**mine[place].tags, **{str(tag): value for tag, value in tags.items()}}
        said = mine[place].description if description is None else description
        mine[place] = dataclasses.replace(mine[place], tags=changed, description=said)

    def remove(self, version: ModelVersion) -> None:
        """Delete a version."""
        self._versions[version.name] = [other for other in self._versions[version.name] if other.number != version.number]

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        """Give a version the alias."""
        self._aliases[version.name, alias] = version.number
