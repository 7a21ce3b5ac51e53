"""Writes one MLflow run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from pipeline.atomic_io import synchronise_below
from pipeline.errors import ExhaustedStoreError, printable
from pipeline.tracking.database.store_file import local_folder
from pipeline.tracking.model_registry.logged_models import add_logged_model, copy_metrics
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.retrying_client import RetryingClient, store_errors
from pipeline.tracking.runs import Status, checksum_tag, fresh_params, note_finished, store_patience
from pipeline.tracking.servable import save_servable
from pipeline.tracking.tags import TEXT_LIMIT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METRICS_AT_ONCE = 500  # the tracking API takes at most 1000 metrics
_MONITOR_SECONDS = 10  # at most, for what MLflow's monitor of the machine has not recorded yet
_PARAMS_AT_ONCE = 100  # and 100 params a request


@contextlib.contextmanager
def _scratch(beside: Path | None) -> Iterator[Path]:
    """A folder to write into: on the disk on which it then stays, so that it is moved there, not copied; else a temporary one.

    One of that place that a killed process left is taken away.
    """
    if beside is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    scratch = beside / ".writing"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class MlflowLogger:
    """Writes one MLflow run."""

    client: RetryingClient
    run_id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record hyperparameters. What `mlflow run` logged already as raw text stays if it means the same."""
        with self._writing():
            present = self.client.get_run(self.run_id).data.params
            fresh = [Param(name, value) for name, value in fresh_params(present, params).items()]
            for start in range(0, len(fresh), _PARAMS_AT_ONCE):
                self.client.log_batch(self.run_id, params=fresh[start : start + _PARAMS_AT_ONCE])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record measured numbers."""
        self._log_metrics(metrics, step, time.time_ns() // 1_000_000)

    def log_outcome(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record what the run does not hold with the same value."""
        with self._writing():
            present = self.client.get_run(self.run_id).data.metrics
        self.log_metrics({name: value for name, value in metrics.items() if present.get(name) != value}, step)

    def open_outbox(self) -> Outbox:
        """For metrics by step; MLflow records what is equal in value, step and time once."""

        def write(metrics: Mapping[str, float], step: int, milliseconds: int) -> None:
            with self.client.asking_once():
                self._log_metrics(metrics, step, milliseconds)

        return Outbox(write, store_patience())

    def _log_metrics(self, metrics: Mapping[str, float], step: int, milliseconds: int) -> None:
        entries = [Metric(name, float(value), milliseconds, step) for name, value in metrics.items()]
        with self._writing():
            for start in range(0, len(entries), _METRICS_AT_ONCE):
                self.client.log_batch(self.run_id, metrics=entries[start : start + _METRICS_AT_ONCE])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        with self._writing():
            self.client.log_batch(self.run_id, tags=[RunTag(str(name), value[:TEXT_LIMIT]) for name, value in tags.items()])

    def log_text(self, text: str, path: str) -> None:
        """Record a text."""
        self.log_texts({path: text})

    def log_texts(self, texts: Mapping[str, str]) -> None:
        """Record texts; all their checksums in one transaction."""
        for path, text in texts.items():
            with self._adding(path):
                self.client.log_text(self.run_id, text, path)
        self.set_tags({name: sha256 for path, text in texts.items() for name, sha256 in checksum_tag(path, text).items()})

    def log_figure(self, figure: Figure, path: str) -> None:
        """Record a picture. Names in it that hold controls have no glyph, and matplotlib's warning would print them raw."""
        from matplotlib.text import Text

        for text in figure.findobj(Text):
            text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
        with self._adding(path):
            self.client.log_figure(self.run_id, figure, path)

    def log_file(self, file: Path) -> None:
        """Record a file."""
        with self._adding(file.name):
            self.client.log_artifact(self.run_id, str(file))

    def log_model(self, folder: Path, packages: Sequence[str] = ()) -> None:
        """Record a saved model as `model/`, with what `mlflow models serve` needs beside it."""
        with self._adding("model"):
            run = self.client.get_run(self.run_id)
            artifacts = local_folder(run.info.artifact_uri)
            if artifacts is not None:
                artifacts.mkdir(parents=True, exist_ok=True)
            with _scratch(artifacts and artifacts.parent) as scratch:
                servable = scratch / "model"
                save_servable(folder, servable, packages)
                if artifacts is None:
                    self.client.log_artifacts(self.run_id, str(servable), "model")
                else:
                    shutil.rmtree(artifacts / "model", ignore_errors=True)  # of a training that was killed at this place
                    servable = servable.replace(artifacts / "model")
                add_logged_model(self.client, run, servable)

    def update_model(self) -> None:
        """Bring what the run has measured onto its model."""
        with self._writing():
            copy_metrics(self.client, self.client.get_run(self.run_id))

    def log_dataset(self, name: str, source: str, sha256: str, context: str) -> None:
        """Record which data went in, under our own SHA-256: MLflow's digest looks at a sample only."""
        dataset = MetaDataset(HTTPDatasetSource(source), name=name, digest=sha256[:32])
        entry = DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
        with self._writing():
            self.client.log_inputs(self.run_id, [entry])

    @contextlib.contextmanager
    def watch_system(self) -> Iterator[None]:
        """Record what the machine does, from a thread of MLflow's; it ends by itself where the store is away."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(self.run_id, resume_logging=True, tracking_uri=self.client.tracking_uri)
        monitor.start()
        try:
            yield
        finally:
            # Where the store is away MLflow asks it for minutes, and says nothing meanwhile.
            ending = threading.Thread(target=monitor.finish, daemon=True)
            ending.start()
            ending.join(_MONITOR_SECONDS)

    def finish(self, status: Status, detail: str = "") -> None:
        """Close the run; one that is FINISHED has its artifacts on the disk: what it was made from is deleted then."""
        with self._writing():
            folder = local_folder(self.client.get_run(self.run_id).info.artifact_uri) if status == "FINISHED" else None
            if folder is not None and folder.is_dir():
                synchronise_below(folder)
            if detail:
                self.client.set_tag(self.run_id, "status_detail", detail[:TEXT_LIMIT])
            self.client.set_terminated(self.run_id, status)
        note_finished(self.run_id)

    @contextlib.contextmanager
    def _adding(self, path: str) -> Iterator[None]:
        """Write an artifact; what is half written when the disk is full is removed, so that it does not stay full."""
        try:
            with self._writing():
                yield
        except ExhaustedStoreError:
            with contextlib.suppress(MlflowException, OSError):
                folder = local_folder(self.client.get_run(self.run_id).info.artifact_uri)
                if folder is not None and (folder / path).is_dir():
                    shutil.rmtree(folder / path)
                elif folder is not None:
                    (folder / path).unlink(missing_ok=True)
            raise

    def _writing(self) -> AbstractContextManager[None]:
        return store_errors("written", self.client.tracking_uri)
