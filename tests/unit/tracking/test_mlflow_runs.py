"""What is MLflow's own: where its pages and artifacts are, experiments, and stores that do not answer."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException

from pipeline.errors import RunError, StoreError
from pipeline.tracking import mlflow_logger
from pipeline.tracking.mlflow_runs import MlflowTracker, mark_failed


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("{cwd}/mlruns/1/abc/artifacts", "mlruns/1/abc/artifacts/report.html"),
        ("file://{cwd}/a%20folder/artifacts", "a folder/artifacts/report.html"),
        ("/elsewhere/artifacts", "/elsewhere/artifacts/report.html"),
        ("s3://bucket/1/abc/artifacts", "report.html at PAGE"),
        ("mlflow-artifacts:/1/abc/artifacts", "report.html at PAGE"),
    ],
)
def test_where_an_artifact_lies_is_said_so_that_it_can_be_opened(mlflow_tracker, monkeypatch, uri, expected):
    run_id = mlflow_tracker.start("compare").run_id
    address = mlflow_tracker.web_address(run_id, "artifacts")
    assert address.endswith(f"/runs/{run_id}/artifacts?workflowType=machine_learning")
    run = SimpleNamespace(info=SimpleNamespace(artifact_uri=uri.format(cwd=Path.cwd()), experiment_id="1"))
    monkeypatch.setattr(mlflow_tracker, "_places", {})
    monkeypatch.setattr(mlflow_tracker.client, "get_run", lambda run_id: run)
    monkeypatch.setattr(mlflow_tracker, "web_address", lambda run_id, page: {"artifacts": address}[page])
    assert mlflow_tracker.artifact_address(run_id, "report.html") == expected.replace("PAGE", address)


def test_a_store_that_refuses_to_mark_the_experiment_still_takes_runs(mlflow_tracker, monkeypatch):
    def refuse(*given):
        raise MlflowException("not allowed")

    monkeypatch.setattr(mlflow_tracker.client, "set_experiment_tag", refuse)
    assert mlflow_tracker.get(mlflow_tracker.start("mine").run_id).name == "mine"


def test_the_run_that_mlflow_run_made_is_used(mlflow_tracker, monkeypatch):
    given = mlflow_tracker.start("given").run_id
    experiment_id = mlflow_tracker.client.get_run(given).info.experiment_id
    mlflow_tracker.client.delete_experiment_tag(experiment_id, "mlflow.experimentKind")
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert mlflow_tracker.start("mine").run_id == given
    kind = mlflow_tracker.client.get_experiment(experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development", "else the UI opens a page for language-model applications"
    assert mlflow_tracker.start("nested", given).run_id != given


@pytest.mark.parametrize(("given", "expected"), [("bright-shark-12", "mine"), ("my baseline", "my baseline")])
def test_a_run_that_nobody_has_named_is_given_a_name(mlflow_tracker, monkeypatch, given, expected):
    run_id = mlflow_tracker.start(given).run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    mlflow_tracker.start("mine")
    assert mlflow_tracker.get(run_id).name == expected


def test_a_deleted_run_is_not_there(mlflow_tracker):
    run_id = mlflow_tracker.start("deleted").run_id
    mlflow_tracker.client.delete_run(run_id)
    with pytest.raises(RunError, match="was deleted"):
        mlflow_tracker.get(run_id)


def test_a_store_that_does_not_answer_is_no_mistake_in_the_run_id(mlflow_tracker, monkeypatch):
    run_id = mlflow_tracker.start("there").run_id

    def fail(*args):
        raise MlflowException("database is locked")

    monkeypatch.setattr(mlflow_tracker.client, "get_run", fail)
    monkeypatch.setattr(mlflow_tracker.client, "list_artifacts", fail)
    with pytest.raises(StoreError, match="cannot be read: database is locked"):
        mlflow_tracker.get(run_id)
    with pytest.raises(StoreError, match="locked it for minutes"):
        mlflow_tracker.model_bytes(run_id)


def test_a_file_that_is_no_database_is_said_without_a_traceback(tmp_path):
    (tmp_path / "mlflow.db").write_text("hello")
    with pytest.raises(StoreError, match=r"cannot be opened: .*file is not a database\. Check MLFLOW_TRACKING_URI"):
        MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_a_run_is_marked_failed_and_nothing_is_raised(mlflow_tracker, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_tracker.tracking_uri)
    run_id = mlflow_tracker.start("marked").run_id
    mark_failed(run_id, "train", "x" * 9000)
    run = mlflow_tracker.get(run_id)
    assert (run.status, run.stage) == ("FAILED", "train")
    assert 1000 < len(run.tags["status_detail"]) < 9000
    mark_failed("no such run", "train", "reason")


def test_of_two_that_make_the_experiment_at_once_both_use_it(mlflow_tracker, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "at once")
    create = mlflow_tracker.client.create_experiment

    def lose_the_race(name):
        create(name)
        return create(name)

    monkeypatch.setattr(mlflow_tracker.client, "create_experiment", lose_the_race, raising=False)
    run_id = mlflow_tracker.start("second").run_id
    experiment = mlflow_tracker.client.get_run(run_id).info.experiment_id
    assert mlflow_tracker.client.get_experiment(experiment).name == "at once"


def test_artifacts_that_cannot_be_written_are_no_traceback(mlflow_tracker, monkeypatch):
    logger = mlflow_tracker.start("full disk")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlflow_tracker.client, "log_text", fail, raising=False)
    with pytest.raises(StoreError, match=r"cannot be written: The disk is full\. Free some space"):
        logger.log_text("text", "text.txt")
    monkeypatch.delattr(mlflow_tracker.client, "log_text")


def test_a_model_says_which_packages_it_needs(mlflow_tracker, tmp_path, model_record):
    (tmp_path / "fine_tuned").mkdir()
    (tmp_path / "fine_tuned" / "model.json").write_text(model_record)
    logger = mlflow_tracker.start("needs more")
    logger.log_model(tmp_path / "fine_tuned", ["tabulate"])
    needed = mlflow_tracker.download(logger.run_id, "model/requirements.txt", tmp_path / "to").read_text()
    assert {"tabulate", "torch", "mlflow", "sentencepiece"} <= {line.partition("==")[0] for line in needed.split()}


def test_the_command_that_opens_the_ui_names_a_store_that_is_not_of_this_folder(mlflow_tracker, monkeypatch):
    monkeypatch.setattr(mlflow_tracker, "tracking_uri", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    assert mlflow_tracker.ui_command() == "mlflow ui"
    monkeypatch.setattr(mlflow_tracker, "tracking_uri", "sqlite:////else where/mlflow.db")
    assert mlflow_tracker.ui_command() == "mlflow ui --backend-store-uri 'sqlite:////else where/mlflow.db'"
    monkeypatch.setattr(mlflow_tracker, "tracking_uri", "https://host/mlflow")
    assert mlflow_tracker.ui_command() == ""


def test_the_experiment_that_mlflow_chose_is_described_and_a_description_of_ones_own_stays(mlflow_tracker, monkeypatch):
    client = mlflow_tracker.client
    own = client.create_experiment("own", tags={"mlflow.note.content": "mine"})
    for experiment, described in (("0", "Runs of fairtune"), (own, "mine")):
        given = client.create_run(experiment).info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", given)
        mlflow_tracker.start("study-quickstart")
        tags = client.get_experiment(experiment).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert tags["mlflow.note.content"].startswith(described)
        assert json.loads(tags["mlflow.sharedViewState.strategies"])["groupBy"], "the view that docs/how-to/mlflow.md opens"


def test_a_link_holds_no_password(mlflow_tracker, monkeypatch):
    run_id = mlflow_tracker.start("linked").run_id
    monkeypatch.setattr(mlflow_tracker, "tracking_uri", "https://me:secret@host/mlflow")
    assert mlflow_tracker.web_address(run_id).startswith("https://host/mlflow/#/experiments/")


def test_an_experiment_that_only_a_server_can_write_is_refused(mlflow_tracker, monkeypatch):
    mlflow_tracker.client.create_experiment("made by the UI", artifact_location="mlflow-artifacts:/1")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "made by the UI")
    with pytest.raises(StoreError, match="--experiment-name"):
        mlflow_tracker.start("mine")


def test_a_deleted_experiment_is_refused(mlflow_tracker, monkeypatch):
    client = mlflow_tracker.client
    client.delete_experiment(client.create_experiment("old"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "old")
    with pytest.raises(StoreError, match="'old' was deleted"):
        mlflow_tracker.start("mine")


def test_a_store_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        MlflowTracker(f"unheard-of://{Path(tmp_path / 'file')}")


def test_the_dataset_carries_our_digest(mlflow_tracker):
    logger = mlflow_tracker.start("data")
    logger.log_dataset("reviews-train", "file:///data.csv", "ab" * 32, "training")
    (entry,) = mlflow_tracker.client.get_run(logger.run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("reviews-train", "ab" * 16)
    assert [tag.value for tag in entry.tags] == ["training"]


def test_what_the_machine_does_is_recorded_while_it_is_watched(mlflow_tracker, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    logger = mlflow_tracker.start("watched")
    with logger.watch_system():
        time.sleep(1)
    recorded = [name for name in mlflow_tracker.get(logger.run_id).metrics if name.startswith("system/")]
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(recorded)


def test_a_monitor_that_waits_for_the_store_holds_nobody(mlflow_tracker, monkeypatch):
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    may_end, monitors, finish = threading.Event(), [], SystemMetricsMonitor.finish

    def wait(monitor):
        monitors.append(monitor)
        may_end.wait(60)

    monkeypatch.setattr(SystemMetricsMonitor, "finish", wait)
    monkeypatch.setattr(mlflow_logger, "_MONITOR_SECONDS", 0.2)
    began = time.monotonic()
    with mlflow_tracker.start("watched").watch_system():
        pass
    assert time.monotonic() - began < 30
    may_end.set()
    finish(monitors[0])  # else it asks the store until the tests end, also of those that count what is asked
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("SystemMetricsMonitor")]


class Page(list):
    def __init__(self, items, token):
        super().__init__(items)
        self.token = token


class Server:
    """Gives two runs a page, counted off in the order asked for, and takes in another run between the first two pages."""

    def __init__(self, before, meanwhile):
        self.runs, self.meanwhile = list(before), meanwhile

    def search_experiments(self):
        return [SimpleNamespace(experiment_id="1")]

    def search_runs(self, experiments, condition, order_by, page_token=None):
        start = int(page_token or 0)
        if start:
            self.runs += self.meanwhile
            self.meanwhile = []
        [order] = order_by
        ordered = sorted(self.runs, key=lambda run: run.info.start_time, reverse=order.endswith("DESC"))
        return Page(ordered[start : start + 2], str(start + 2) if start + 2 < len(ordered) else None)


def stored_run(number):
    run_id = f"run{number}"
    info = {"run_id": run_id, "run_name": run_id, "status": "FINISHED", "start_time": number}
    info |= {"experiment_id": "1", "artifact_uri": "file:///artifacts"}
    return SimpleNamespace(info=SimpleNamespace(**info), data=SimpleNamespace(tags={}, params={}, metrics={}))


@pytest.mark.parametrize("began", [9, 0])
def test_a_run_that_begins_while_pages_are_read_shows_no_other_twice(mlflow_tracker, monkeypatch, began):
    """Also where its clock is behind, so that it comes first and shifts the pages."""
    tracker = MlflowTracker(mlflow_tracker.tracking_uri)
    tracker._reader = None
    monkeypatch.setattr(tracker, "client", Server(map(stored_run, range(1, 6)), [stored_run(began)]))
    found = [run.run_id for run in tracker.search()]
    assert len(found) == len(set(found))
    assert found[-5:] == [f"run{number}" for number in (5, 4, 3, 2, 1)], "the newest first"
