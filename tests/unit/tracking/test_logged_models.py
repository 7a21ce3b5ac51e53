"""A run's model on MLflow's page of models: metrics with their data, files that take no room, one entry whatever was killed."""

import errno
import json
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.tracking.database.store_file import local_folder
from pipeline.tracking.model_registry import logged_models


@pytest.fixture
def folder(tmp_path, model_record):
    """A saved model, as far as logging it needs."""
    folder = tmp_path / "fine_tuned"
    folder.mkdir()
    (folder / "model.json").write_text(model_record)
    return folder


def logged(tracker, run_id):
    """The logged models whose source is the run."""
    run = tracker.client.get_run(run_id)
    return list(tracker.client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"))


def test_a_model_carries_its_runs_parameters_and_its_scores_with_the_data_they_are_of(mlflow_tracker, folder):
    logger = mlflow_tracker.start("lora-r8.5: seed 42")
    logger.set_tags({"strategy": "lora", "stage": "train"})
    logger.log_params({"learning_rate": 3e-5})
    logger.log_dataset("reviews-validation", "https://host/reviews", "a" * 64, "validation")
    logger.log_model(folder)
    logger.log_outcome({"val/f1_macro": 0.8, "cost/wall_seconds": 7.0, "train/loss": 0.3, "data/rows_train": 9.0}, 5)
    logger.update_model()
    logger.log_dataset("reviews-test", "https://host/reviews", "b" * 64, "test")
    logger.log_metrics({"test/f1_macro": 0.7})
    logger.update_model()

    (model,) = logged(mlflow_tracker, logger.run_id)
    assert model.name == "lora-r8-5- seed 42", "without what MLflow refuses in a name"
    assert (model.status, model.tags["strategy"], model.params) == ("READY", "lora", {"learning_rate": "3e-05"})
    assert {
        metric.key: (metric.value, metric.step, metric.dataset_name, metric.dataset_digest) for metric in model.metrics
    } == {
        "val/f1_macro": (0.8, 5, "reviews-validation", "a" * 32),
        "cost/wall_seconds": (7.0, 5, None, None),
        "test/f1_macro": (0.7, 0, "reviews-test", "b" * 32),
    }
    run = mlflow_tracker.client.get_run(logger.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    for metric in run.data.metrics:
        assert len(mlflow_tracker.history(logger.run_id, metric)) == 1, "the run's own record stays as it was"


def test_a_score_that_is_measured_again_replaces_the_models(mlflow_tracker, folder):
    logger = mlflow_tracker.start("again")
    logger.log_model(folder)
    for score in (0.5, 0.5, 0.6):
        logger.log_metrics({"test/f1_macro": score}, step=0)
        logger.update_model()
    (model,) = logged(mlflow_tracker, logger.run_id)
    assert 0.6 in [metric.value for metric in model.metrics]
    assert len(model.metrics) == 2, "an equal one is not recorded again"


def test_its_files_are_those_of_the_run_and_take_no_room(mlflow_tracker, folder):
    logger = mlflow_tracker.start("linked")
    logger.log_model(folder)
    (model,) = logged(mlflow_tracker, logger.run_id)
    ours = local_folder(mlflow_tracker.client.get_run(logger.run_id).info.artifact_uri) / "model"
    theirs = local_folder(model.artifact_location)
    files = {file.relative_to(ours) for file in ours.rglob("*") if file.is_file()}
    assert files == {file.relative_to(theirs) for file in theirs.rglob("*") if file.is_file()}
    assert len(files) > 50
    assert all((ours / file).samefile(theirs / file) for file in files)


@pytest.mark.parametrize("moment", ["create_logged_model", "_link_files", "log_outputs", "finalize_logged_model"])
def test_what_a_killed_attempt_left_is_completed(mlflow_tracker, folder, monkeypatch, moment):
    class Killed(BaseException):
        pass

    def kill_after(function):
        def call(*args, **kwargs):
            function(*args, **kwargs)
            raise Killed

        return call

    logger = mlflow_tracker.start("killed")
    with monkeypatch.context() as patch:
        if moment.startswith("_"):
            patch.setattr(logged_models, moment, kill_after(getattr(logged_models, moment)))
        else:
            patch.setattr(mlflow_tracker.client, moment, kill_after(getattr(mlflow_tracker.client, moment)), raising=False)
        with pytest.raises(Killed):
            logger.log_model(folder)
    logger.log_model(folder)
    (model,) = logged(mlflow_tracker, logger.run_id)
    assert model.status == "READY"
    assert (
        local_folder(
            model.artifact_location,
        )
        .joinpath("MLmodel")
        .is_file()
    )
    outputs = mlflow_tracker.client.get_run(logger.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id]


def test_of_a_full_disk_nothing_half_written_is_left(mlflow_tracker, folder, monkeypatch):
    def fill(file, copy):
        Path(copy).touch()
        if Path(copy).name == "MLmodel":
            raise OSError(errno.ENOSPC, "No space left on device")

    logger = mlflow_tracker.start("full")
    monkeypatch.setattr(logged_models, "link_file", fill)
    with pytest.raises(StoreError, match="The disk is full"):
        logger.log_model(folder)
    (model,) = logged(mlflow_tracker, logger.run_id)
    assert model.status == "PENDING"
    assert not local_folder(model.artifact_location).exists()


def test_a_server_is_sent_the_files(mlflow_tracker, folder, monkeypatch):
    sent = []
    monkeypatch.setattr(logged_models, "local_folder", lambda address: None)
    send = lambda model_id, place: sent.append(Path(place, "MLmodel").is_file())  # noqa: E731
    monkeypatch.setattr(mlflow_tracker.client, "log_model_artifacts", send, raising=False)
    mlflow_tracker.start("far").log_model(folder)
    assert sent == [True]


def test_a_run_of_an_older_version_has_none_and_stays_as_it_is(mlflow_tracker):
    logger = mlflow_tracker.start("older")
    logger.log_metrics({"test/f1_macro": 0.7})
    logger.update_model()
    assert logged(mlflow_tracker, logger.run_id) == []


def test_a_version_of_a_registered_model_names_it(mlflow_tracker, folder):
    logger = mlflow_tracker.start("registered")
    logger.log_model(folder)
    first, second = (mlflow_tracker.models.add("mine", logger.run_id, {}) for _ in range(2))
    (model,) = logged(mlflow_tracker, logger.run_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "mine", "version": 1}, {"name": "mine", "version": 2}]
    mlflow_tracker.models.remove(first)
    (model,) = logged(mlflow_tracker, logger.run_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "mine", "version": second.number}]
