"""Runs in an MLflow tracking store: begun, found and read here, written by `mlflow_logger`."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import RunError, StoreError, hide_credentials
from pipeline.evaluation.metric import ranking
from pipeline.interruption import held
from pipeline.tracking.abandoned import describe_process, is_gone
from pipeline.tracking.database.sql_reader import SqlReader, StoredRun, open_reader
from pipeline.tracking.database.store_file import database_file, ensure_store, local_folder
from pipeline.tracking.mlflow_logger import MlflowLogger
from pipeline.tracking.model_registry.on_mlflow import MlflowModels
from pipeline.tracking.retrying_client import RetryingClient, environment, store_error, store_errors
from pipeline.tracking.runs import Run, RunLogger, Status, check_artifact, is_intact, note_opened, only_folder
from pipeline.tracking.tags import TEXT_LIMIT, Tag, experiment_tags, under_former_names

EXPERIMENT = "fairtune"
# Unless an address says so, or the browser remembers it, MLflow 3.17 opens a page for language-model applications, which has
# nothing to show, whatever the experiment's kind.
_VIEW = "workflowType=machine_learning"
_PARENT = "mlflow.parentRunId"
_MODEL = "model/data"
"""Artifact in which the folder of a saved model lies."""
_NO_SUCH_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

# Long names of migration steps and of run ids are of no use to whoever trains a model.
for _name in ("alembic", "mlflow.utils.autologging_utils"):
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of errors that are said below

# What MLflow calls a run that nobody has named, such as bright-shark-12.
_MADE_UP_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")


class MlflowTracker:
    """A `Tracker` on an MLflow tracking store: that of the environment, by default `mlflow.db` beside `mlruns`."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        """Connect to the store, which is made where it does not exist.

        Raises:
            StoreError: The store cannot be opened.
        """
        try:
            ensure_store(tracking_uri or mlflow.get_tracking_uri())
            # A server that is not there is said in seconds where a command begins; what a study has started waits for it.
            self.client = RetryingClient(tracking_uri, waits=multiprocessing.parent_process() is not None)
            self.tracking_uri = self.client.tracking_uri
            self._places: dict[str, tuple[str, str]] = {}
            if database_file(self.tracking_uri) is None:  # which the client has opened by now
                with environment({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}):
                    self.client.search_experiments(max_results=1)
            self.client.waits = True
        except StoreError:
            raise
        except Exception as error:  # also what SQLAlchemy, a driver that is missing or the address itself raise
            raise store_error("opened", tracking_uri or mlflow.get_tracking_uri(), error) from error

    def __reduce__(self) -> tuple[type[MlflowTracker], tuple[str]]:
        """Handed to another process, it connects to the same store anew."""
        return type(self), (self.tracking_uri,)

    def start(self, name: str, parent_id: str | None = None, tags: Mapping[str, str] | None = None) -> RunLogger:
        """A new run, or the one that `mlflow run` made for this process."""
        given = self.assigned_run_id()
        if parent_id is None:
            self._close_abandoned()
        if parent_id is None and given is not None:
            logger = self.reopen(given)
            logger.set_tags(tags or {})
            with store_errors("written", self.tracking_uri):
                self._mark_experiment(self.client.get_run(given).info.experiment_id)
                if _MADE_UP_NAME.fullmatch(self.client.get_run(given).info.run_name or ""):
                    self.client.update_run(given, name=name)
            return logger
        with store_errors("written", self.tracking_uri):
            experiment_id = self._experiment_id(parent_id)
            if parent_id is None:  # else that run has done it
                self._mark_experiment(experiment_id)
            self._check_artifacts(self.client.get_experiment(experiment_id).artifact_location)
            parent = {_PARENT: parent_id} if parent_id else {}
            ours = {str(tag): value for tag, value in {**(tags or {}), Tag.PROCESS: describe_process()}.items()}
            with held():
                run = self.client.create_run(experiment_id, run_name=name, tags={**ours, **parent, "mlflow.user": _user()})
                logger = note_opened(MlflowLogger(self.client, run.info.run_id))
        return logger

    def reopen(self, run_id: str) -> RunLogger:
        """Go on writing to a run that exists."""
        with store_errors("written", self.tracking_uri):
            run = self.client.get_run(run_id)
            self._check_artifacts(run.info.artifact_uri)
            logger = note_opened(MlflowLogger(self.client, run_id))
            self.client.update_run(run_id, status="RUNNING")
            self.client.set_tag(run_id, Tag.PROCESS, describe_process())
            if "status_detail" in run.data.tags:  # why it ended before says nothing of how it ends now
                self.client.delete_tag(run_id, "status_detail")
        return logger

    def _close_abandoned(self) -> None:
        """Mark runs as KILLED that count as running, and whose process is gone: it was killed, or could not reach the store."""
        with store_errors("read", self.tracking_uri):
            experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
            running = self.client.search_runs(experiments, "attributes.status = 'RUNNING'") if experiments else []
        for run in running:
            if is_gone(run.data.tags.get(Tag.PROCESS, "")):
                MlflowLogger(self.client, run.info.run_id).finish("KILLED", "its process was gone when the next run began")

    def open_for_update(self, run_id: str) -> RunLogger:
        """Write to a run that exists and leave its status as it is."""
        return MlflowLogger(self.client, self.get(run_id).run_id)

    @property
    def models(self) -> MlflowModels:
        """The model registry."""
        return MlflowModels(self.client)

    def set_parent(self, run_id: str, parent_id: str) -> None:
        """Put a run below another parent."""
        with store_errors("written", self.tracking_uri):
            self.client.set_tag(run_id, _PARENT, parent_id)

    def assigned_run_id(self) -> str | None:
        """The run that `mlflow run` has made for this process, if any."""
        return os.environ.get("MLFLOW_RUN_ID") or None

    def get(self, run_id: str) -> Run:
        """One run."""
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in _NO_SUCH_RUN:
                raise store_error("read", self.tracking_uri, error) from error
            raise RunError(
                f"There is no run {run_id!r} in {hide_credentials(self.tracking_uri)}. The end of `train` prints a run's id, "
                "and the MLflow UI shows it."
            ) from error
        if run.info.lifecycle_stage != "active":
            raise RunError(f"The run {run_id} was deleted. `mlflow runs restore --run-id {run_id}` brings it back.")
        return self._take(run)

    def search(self, tags: Mapping[str, str] | None = None) -> list[Run]:
        """All runs of all experiments that carry the tags, the newest first; those of older versions under their names."""
        wanted = dict(tags or {})
        runs = self._search(wanted)
        if (former := under_former_names(wanted)) != wanted:  # a filter of MLflow knows no `or`
            known = {run.run_id for run in runs}
            runs += [run for run in self._search(former) if run.run_id not in known and wanted.items() <= run.tags.items()]
            runs.sort(key=lambda run: -run.start_time)
        return runs

    def _search(self, tags: Mapping[str, str]) -> list[Run]:
        with store_errors("read", self.tracking_uri):
            experiments = [e.experiment_id for e in self.client.search_experiments()]
            if self._reader:
                return [self._remember(run) for run in self.client.insist(self._reader.search, experiments, tags)]
            condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
            # A server counts off its pages. Oldest first a run that begins meanwhile comes last, and shifts none.
            runs: dict[str, Run] = {}
            token: str | None = None
            while True:
                page = self.client.search_runs(experiments, condition, order_by=["attributes.start_time ASC"], page_token=token)
                runs |= {run.info.run_id: self._take(run) for run in page}
                token = page.token
                if not token:
                    return sorted(runs.values(), key=lambda run: -run.start_time)

    def _take(self, run: Any) -> Run:
        """A run as MLflow's client gives it."""
        info, data = run.info, run.data
        fixed = (info.run_id, info.run_name or "", info.status, info.start_time, info.experiment_id, info.artifact_uri)
        return self._remember(StoredRun(*fixed, dict(data.tags), dict(data.params), dict(data.metrics)))

    def _remember(self, run: StoredRun) -> Run:
        """The run; where it is, which never changes, need not be asked for again."""
        self._places[run.run_id] = (run.experiment_id, run.artifact_uri)
        return Run(
            run_id=run.run_id,
            name=run.name or run.tags.get("mlflow.runName", ""),
            status=cast(Status, run.status),
            start_time=run.start_time,
            parent_id=run.tags.get(_PARENT),
            tags=run.tags,
            params=run.params,
            metrics=run.metrics,
        )

    def _place(self, run_id: str) -> tuple[str, str]:
        """Its experiment's id, and the address of its artifacts."""
        if run_id not in self._places:
            with store_errors("read", self.tracking_uri):
                info = self.client.get_run(run_id).info
            self._places[run_id] = (info.experiment_id, info.artifact_uri)
        return self._places[run_id]

    @cached_property
    def _reader(self) -> SqlReader | None:
        return open_reader(self.tracking_uri)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Every record of a metric."""
        with store_errors("read", self.tracking_uri):
            points = self.client.get_metric_history(run_id, metric)
        return sorted((point.step, point.value) for point in points)

    def read_histories(self, run_ids: Sequence[str], metric: str) -> dict[str, list[tuple[int, float]]]:
        """Those of several runs; a server is asked for one after the other."""
        if not self._reader:
            return {run_id: self.history(run_id, metric) for run_id in run_ids}
        with store_errors("read", self.tracking_uri):
            found = self.client.insist(self._reader.histories, run_ids, metric)
        return {run_id: sorted(found.get(run_id, [])) for run_id in run_ids}

    @contextlib.contextmanager
    def open_artifact(self, run: Run, path: str) -> Iterator[Path]:
        """Where it lies, if that is on this machine; else it is brought here meanwhile."""
        folder = local_folder(self._place(run.run_id)[1])
        # What is not as the run says may have been written anew since the run was read: the run is then read again.
        if folder is not None and (folder / path).is_file() and is_intact(run, path, folder / path):
            yield folder / path
            return
        with tempfile.TemporaryDirectory() as scratch:
            yield self.download(run.run_id, path, Path(scratch))

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        """Bring an artifact below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # No progress bar, which MLflow draws even where there is no terminal.
            with environment({"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}):
                file = Path(self.client.download_artifacts(run_id, path, str(folder)))
        except (MlflowException, OSError) as error:
            raise RunError(
                f"Run {run_id} has no artifact {path!r}, or it cannot be fetched: {hide_credentials(str(error))}. "
                "Was it deleted, or moved together with the checkout? Artifact addresses are absolute."
            ) from error
        return check_artifact(self.get(run_id), path, file) if file.is_file() else file

    def download_model(self, run_id: str, folder: Path) -> Path:
        """Bring the model below `folder`."""
        return only_folder(self.download(run_id, _MODEL, folder), run_id)

    @contextlib.contextmanager
    def open_model(self, run_id: str) -> Iterator[Path]:
        """Where it lies, if that is on this machine; else it is brought here meanwhile."""
        artifacts = local_folder(self._place(run_id)[1])
        if artifacts is not None and (artifacts / _MODEL).is_dir():
            yield only_folder(artifacts / _MODEL, run_id)
            return
        with tempfile.TemporaryDirectory() as scratch:
            yield self.download_model(run_id, Path(scratch))

    @contextlib.contextmanager
    def open_registered(self, address: str) -> Iterator[Path]:
        """A copy of it."""
        from mlflow.artifacts import download_artifacts

        with tempfile.TemporaryDirectory() as scratch:
            try:
                with environment({"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}):
                    folder = download_artifacts(address, dst_path=scratch, tracking_uri=self.tracking_uri)
            except (MlflowException, OSError) as error:
                raise RunError(f"{address}: cannot be fetched from the registry: {hide_credentials(str(error))}") from error
            yield Path(folder)

    def model_bytes(self, run_id: str) -> int:
        """Size of the model's files, without what MLflow puts beside them."""
        with store_errors("read", self.tracking_uri):
            folders = self.client.list_artifacts(run_id, _MODEL)
            files = [file for folder in folders for file in self.client.list_artifacts(run_id, folder.path)]
        return sum(file.file_size or 0 for file in files)

    def has_artifact(self, run_id: str, path: str) -> bool:
        """Whether the artifact store lists it."""
        folder = path.rpartition("/")[0]
        with store_errors("read", self.tracking_uri):
            return any(item.path == path for item in self.client.list_artifacts(run_id, folder or None))

    def artifact_address(self, run_id: str, path: str) -> str:
        """Relative to the working folder, where it is below it."""
        folder = local_folder(self._place(run_id)[1])
        if folder is None:
            return f"{path} at {self.web_address(run_id, 'artifacts')}"
        file = folder / path
        return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)

    def web_address(self, run_id: str, page: str = "") -> str:
        """On the tracking server, or where `mlflow ui` serves a local store; in the view for model training."""
        server = self.tracking_uri if self.tracking_uri.startswith("http") else "http://127.0.0.1:5000"
        server = hide_credentials(server).replace("://...@", "://")  # a link is shown, so no password may be in it
        return f"{server.rstrip('/')}/#/experiments/{self._place(run_id)[0]}/runs/{run_id}{f'/{page}' if page else ''}?{_VIEW}"

    def ui_command(self) -> str:
        """`mlflow ui`, which does not read MLFLOW_TRACKING_URI: by itself it shows the store of the folder it is typed in."""
        if self.tracking_uri.startswith("http"):
            return ""
        if os.environ.get("MLFLOW_BACKEND_STORE_URI") == self.tracking_uri or self.is_of_folder():
            return "mlflow ui"
        return f"mlflow ui --backend-store-uri {shlex.quote(hide_credentials(self.tracking_uri))}"

    def is_of_folder(self) -> bool:
        """Whether the store is the one that MLflow uses in this folder by itself."""
        file = self.tracking_uri.removeprefix("sqlite:///")
        return file != self.tracking_uri and Path(file).resolve() == Path("mlflow.db").resolve()

    def _experiment_id(self, parent_id: str | None) -> str:
        if parent_id:
            return str(self.client.get_run(parent_id).info.experiment_id)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        existing = self.client.get_experiment_by_name(name)
        if existing is None:
            try:
                return str(self.client.create_experiment(name))
            except MlflowException as error:
                existing = self.client.get_experiment_by_name(name)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or existing is None:
                    raise  # else another process, which began at the same moment, was quicker
        if existing.lifecycle_stage != "active":
            raise StoreError(
                f"The experiment {name!r} was deleted. Restore it (`mlflow experiments restore -x {existing.experiment_id}`) "
                "or choose another by the environment variable MLFLOW_EXPERIMENT_NAME."
            )
        return str(existing.experiment_id)

    def _mark_experiment(self, experiment_id: str) -> None:
        """Say what is in the experiment, also where `mlflow run` chose it; what somebody wrote there stays."""
        with contextlib.suppress(MlflowException):  # a server may refuse it; it is a matter of looks
            present = self.client.get_experiment(experiment_id).tags
            tags = experiment_tags(ranking("class").name)
            for name in tags.keys() - present.keys():
                self.client.set_experiment_tag(experiment_id, name, tags[name])

    def _check_artifacts(self, uri: str) -> None:
        if uri.startswith("mlflow-artifacts:") and not self.tracking_uri.startswith("http"):
            raise StoreError(
                f"This experiment's artifacts go to {uri}, which only a server can write (the MLflow UI made the experiment "
                "before any run). Name another: `mlflow run . --experiment-name fairtune ...`."
            )


def store_exists() -> bool:
    """Whether the store of the environment is there already; only a database in a file can be missing, and is then made."""
    file = database_file(mlflow.get_tracking_uri())
    return file is None or file.exists()


def mark_failed(run_id: str, stage: str, reason: str, killed: bool = False) -> None:
    """Close the run that `mlflow run` made for a stage that failed before it could open it; never raises."""
    # What failed may be the store itself, and the user waits for the message: it is not asked for long.
    with contextlib.suppress(Exception), environment({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}):
        if not store_exists():  # MLflow would make it, and not all at once
            return
        client = MlflowClient()
        client.set_tag(run_id, "stage", stage)
        client.set_tag(run_id, "status_detail", reason[:TEXT_LIMIT])
        client.set_terminated(run_id, "KILLED" if killed else "FAILED")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
