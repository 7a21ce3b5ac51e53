"""A run's model on MLflow's page of models: what trained it, what it scored on which data, and its files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import LoggedModelOutput, Metric
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from pipeline.atomic_io import synchronise_below
from pipeline.tracking.database.store_file import local_folder
from pipeline.tracking.servable import link_file
from pipeline.tracking.tags import DESCRIPTION

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

    from pipeline.tracking.retrying_client import RetryingClient

_REFUSED = re.compile(r"[/:.%\"']")
"""What a name of MLflow's logged models may not hold."""
_TAGS = ("strategy", "recipe", DESCRIPTION)
_DATA = {"val": "validation", "test": "test"}
"""First part of a metric's name -> what the data set that it was measured on is to the run."""
_SHOWN = (*_DATA, "model", "cost")
_AT_ONCE = 500  # the tracking API takes at most 1000 metrics


def add_logged_model(client: RetryingClient, run: Run, servable: Path) -> None:
    """Put the model of a run onto MLflow's page of models, with its parameters and files.

    An attempt that was killed may have begun to: its entry is then completed. On this machine the files get a second name, so
    that they take no room; a server gets them once more, for a logged model has a place of its own there.

    Args:
        servable: The model as MLflow serves it.
    """
    model = _find(client, run) or client.create_logged_model(
        run.info.experiment_id,
        name=_REFUSED.sub("-", run.info.run_name or run.info.run_id),
        source_run_id=run.info.run_id,
        tags={name: run.data.tags[name] for name in _TAGS if name in run.data.tags},
        params=dict(run.data.params),
    )
    folder = local_folder(model.artifact_location)
    if folder is None:
        client.log_model_artifacts(model.model_id, str(servable))
    else:
        _link_files(servable, folder)
    if model.model_id not in _ids(run):
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, "READY")


def copy_metrics(client: RetryingClient, run: Run) -> None:
    """Bring the latest value of each of a run's metrics onto its model, with the data that scores were measured on."""
    if not (ids := _ids(run)):  # of an older version, or without a model
        return
    present = {metric.key: metric.value for metric in client.get_logged_model(ids[-1]).metrics or []}
    data = {
        tag.value: entry.dataset
        for entry in run.inputs.dataset_inputs
        for tag in entry.tags
        if tag.key == "mlflow.data.context"
    }
    fresh = []
    for metric in run.data._metric_objs:
        group = metric.key.partition("/")[0]
        if group in _SHOWN and present.get(metric.key) != metric.value:
            dataset = data.get(_DATA.get(group, ""))
            measured_on = (dataset.name, dataset.digest) if dataset else (None, None)
            # With the run's own step and time, so that the run, which gets it as well, has it already.
            fresh.append(Metric(metric.key, metric.value, metric.timestamp, metric.step, ids[-1], *measured_on))
    for start in range(0, len(fresh), _AT_ONCE):
        client.log_batch(run.info.run_id, metrics=fresh[start : start + _AT_ONCE])


def link_version(client: RetryingClient, run: Run, name: str, version: int, *, there: bool = True) -> None:
    """Note on a run's model that a version of a registered model is made of it, or no longer is; if it has one.

    MLflow notes this itself only of versions whose files are those of the logged model; ours are the run's, which stay.
    """
    for model_id in _ids(run)[-1:]:
        noted = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
        entry = {"name": name, "version": version}
        versions = [other for other in noted if other != entry] + ([entry] if there else [])
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(versions)})


def _ids(run: Run) -> list[str]:
    return [output.model_id for output in run.outputs.model_outputs] if run.outputs else []


def _find(client: RetryingClient, run: Run) -> LoggedModel | None:
    """One that a killed attempt has made, whether or not its run says so."""
    made = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return made[0] if made else None


def _link_files(servable: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        shutil.copytree(servable, folder, copy_function=link_file)
        synchronise_below(folder)
    except OSError:  # of a full disk nothing half written is left
        shutil.rmtree(folder, ignore_errors=True)
        raise
