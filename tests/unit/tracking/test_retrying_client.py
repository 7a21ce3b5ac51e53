"""A store that another process has locked is asked again; every other refusal is raised at once."""

import contextlib
import copy
import logging
import os
import signal
import sqlite3

import pytest
import sqlalchemy
import tenacity
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service.utils import _get_store

from pipeline import interruption
from pipeline.interruption import Interrupted
from pipeline.tracking import open_tracker, retrying_client
from pipeline.tracking.retrying_client import RetryingClient

LOCKED = MlflowException("(sqlite3.OperationalError) database is locked")


class Client:
    """Refuses as often as told, then answers."""

    tracking_uri = "sqlite:///mlflow.db"

    def __init__(self, *refusals):
        self.refusals = list(refusals)
        self.calls = []

    def __call__(self, tracking_uri):
        """Stands for the class `MlflowClient`, too: connecting is a call like every other."""
        self.search_experiments(tracking_uri)
        return self

    def search_experiments(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if self.refusals:
            raise self.refusals.pop(0)
        return "answer"


@pytest.fixture
def slept(monkeypatch):
    slept = []
    monkeypatch.setattr(tenacity.nap.time, "sleep", slept.append)
    return slept


@pytest.fixture
def connect(monkeypatch, slept):
    def connect(*refusals, connecting=()):
        client = Client(*connecting)
        monkeypatch.setattr(retrying_client, "MlflowClient", client)
        patient = RetryingClient("sqlite:///mlflow.db")
        client.calls.clear()
        client.refusals = list(refusals)
        return patient, client

    return connect


def test_a_locked_store_is_asked_again_with_the_same_words(connect, slept, caplog):
    patient, client = connect(LOCKED, LOCKED)
    with caplog.at_level(logging.WARNING):
        assert patient.search_experiments("active", max_results=1) == "answer"
    assert client.calls == [(("active",), {"max_results": 1})] * 3
    assert len(slept) == 2
    assert all(0.1 <= pause <= 1 for pause in slept)
    assert caplog.text.count("locked the tracking store") == 1, "it is said once a call"


def test_connecting_waits_too(connect, slept):
    patient, _ = connect(connecting=[LOCKED])
    assert len(slept) == 1
    assert patient.search_experiments() == "answer"


def test_other_refusals_are_raised_at_once(connect, slept):
    patient, client = connect(MlflowException("no such run"))
    with pytest.raises(MlflowException, match="no such run"):
        patient.search_experiments()
    assert len(client.calls) == 1
    assert not slept


def test_patience_has_an_end(connect, monkeypatch):
    monkeypatch.setattr(retrying_client, "_LOCKED_SECONDS", 0)
    patient, client = connect(LOCKED, LOCKED)
    with pytest.raises(MlflowException, match="database is locked"):
        patient.search_experiments()
    assert len(client.calls) == 1
    monkeypatch.setattr(retrying_client, "_LOCKED_SECONDS", 180)
    with pytest.raises(MlflowException, match="database is locked"):
        patient.search_experiments()
    assert len(client.calls) == 2, "who closes the run does not wait again"


AWAY = [
    "API request to http://127.0.0.1:1/api/2.0/mlflow/runs/log-batch failed with exception HTTPConnectionPool(...): refused",
    "API request to endpoint /api/2.0/mlflow/runs/create failed with error code 503 != 200",
    '(psycopg2.OperationalError) connection to server at "db", port 5432 failed: Connection refused',
    "(psycopg2.OperationalError) server closed the connection unexpectedly",
    "(psycopg2.OperationalError) FATAL: the database system is starting up",
]


@pytest.mark.parametrize("reason", AWAY)
def test_a_store_that_is_away_is_waited_for(connect, slept, caplog, reason):
    patient, client = connect(MlflowException(reason), MlflowException(reason))
    with caplog.at_level(logging.WARNING):
        assert patient.search_experiments() == "answer"
    assert len(client.calls) == 3
    assert "is away; waiting for it for up to 600 s" in caplog.text


@pytest.mark.parametrize(
    "reason", ["API request failed with error code 404 != 200", "(sqlite3.OperationalError) no such table: runs", "no such run"]
)
def test_what_will_not_pass_is_no_absence(connect, slept, reason):
    patient, _ = connect(MlflowException(reason))
    with pytest.raises(MlflowException):
        patient.search_experiments()
    assert not slept


def test_absence_has_an_end(connect, monkeypatch):
    patient, client = connect(*(MlflowException(AWAY[0]) for _ in range(9)))
    monkeypatch.setenv("FAIRTUNE_STORE_PATIENCE_SECONDS", "0")
    with pytest.raises(MlflowException, match="failed with exception"):
        patient.search_experiments()
    assert len(client.calls) == 1


def test_after_that_mlflow_does_not_wait_by_itself_either(connect, monkeypatch):
    """Its own seven retries take four minutes, at each of the calls by which a run is closed."""
    monkeypatch.setenv("FAIRTUNE_STORE_PATIENCE_SECONDS", "0")
    retries = []
    away = MlflowException(AWAY[0])

    def search_experiments():
        retries.append(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES"))
        raise away

    patient, client = connect()
    client.search_experiments = search_experiments
    for _ in range(2):
        with pytest.raises(MlflowException):
            patient.search_experiments()
    assert (retries, os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES")) == (["2", "0"], None)


def test_who_asks_once_is_told_at_once_and_waits_again_later(connect, slept):
    patient, client = connect(*(MlflowException(AWAY[0]) for _ in range(2)))
    with patient.asking_once(), pytest.raises(MlflowException):
        patient.search_experiments()
    assert not slept
    assert patient.search_experiments() == "answer"
    assert len(client.calls) == 3


def test_a_data_set_that_another_process_recorded_at_the_same_moment_is_recorded(connect, slept):
    same = MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id, datasets.name")
    patient, client = connect(same)
    assert patient.search_experiments() == "answer"
    assert len(client.calls) == 2


def test_it_can_be_copied(connect):
    patient, _ = connect()
    assert copy.copy(patient).search_experiments() == "answer"


def test_what_is_no_method_is_handed_through(connect):
    patient, _ = connect()
    assert patient.tracking_uri == "sqlite:///mlflow.db"
    with pytest.raises(AttributeError):
        patient.no_such_method  # noqa: B018


@pytest.fixture
def terminate():
    """Sends this process SIGTERM, which interrupts what it does."""
    before = signal.getsignal(signal.SIGTERM)
    interruption.listen(signal.SIGTERM)
    yield lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


def test_an_interruption_within_a_commit_leaves_no_lock(tmp_path, monkeypatch, terminate):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    logger = open_tracker().start("train")
    sqlalchemy.event.listen(_get_store().engine, "commit", terminate, once=True)
    with pytest.raises(Interrupted) as caught:  # kept, as whoever handles it keeps the frames, and their connection
        logger.log_metrics({"loss": 1.0})
    assert caught.value.is_in_order
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db", timeout=0)) as other:
        assert other.execute("SELECT value FROM metrics").fetchall() == [(1.0,)]
        other.execute("UPDATE runs SET status = 'KILLED'")


def test_who_is_told_to_end_does_not_wait_for_a_lock(connect, slept, terminate):
    patient, _ = connect()
    refused = []

    def refuse():
        terminate()
        refused.append(True)
        raise LOCKED

    with pytest.raises(Interrupted):
        patient.insist(refuse)
    assert (refused, slept) == ([True], [])


@pytest.mark.parametrize(("uri", "name"), [("http://127.0.0.1:1", "log_batch"), ("sqlite:///mlflow.db", "log_artifact")])
def test_what_may_take_long_is_interrupted_at_once(monkeypatch, terminate, uri, name):
    monkeypatch.setattr(retrying_client, "MlflowClient", Client())
    went_on = []

    def call():
        terminate()
        went_on.append(True)

    call.__name__ = name
    with pytest.raises(Interrupted):
        RetryingClient(uri).insist(call)
    assert not went_on


@pytest.mark.parametrize(
    ("code", "advice"),
    [(401, "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"), (403, "Ask who runs it for the permission EDIT")],
)
def test_who_may_not_is_told_whom_the_server_wants(code, advice):
    refusal = MlflowException(
        f"API request to endpoint /api/2.0 failed with error code {code} != 200. Response body: 'Permission denied'"
    )
    assert advice in str(retrying_client.store_error("read", "http://127.0.0.1:5000", refusal))
