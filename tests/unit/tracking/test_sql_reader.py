"""Many runs are read from the tables in a few statements, and as MLflow's client gives them."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from benchmarks.store import make_store
from pipeline import load_results
from pipeline.config import CompareConfig
from pipeline.errors import DamageError, RunError
from pipeline.stages import compare
from pipeline.tracking.database import sql_reader
from pipeline.tracking.mlflow_runs import MlflowTracker


@contextmanager
def counted_reads(file: Path) -> Iterator[list[str]]:
    """The SELECT statements that are sent to a store meanwhile; threads that other tests have left may read others."""
    sent: list[str] = []

    def note(connection, cursor, statement, *rest):
        if connection.engine.url.database == str(file) and statement.lstrip().upper().startswith("SELECT"):
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture
def through_client(mlflow_tracker: MlflowTracker) -> MlflowTracker:
    """The same store, as a server would be read."""
    tracker = MlflowTracker(mlflow_tracker.tracking_uri)
    tracker._reader = None
    return tracker


def test_runs_and_histories_are_those_of_mlflows_client(mlflow_tracker, through_client, monkeypatch):
    monkeypatch.setattr(sql_reader, "PAGE", 2)
    values = {"val/loss": [0.5, math.inf, 0.25], "val/f1": [math.nan, 0.5, 0.75]}
    made = []
    for number in range(5):
        logger = mlflow_tracker.start(f"run {number}", made[0] if made else None, {"stage": "train" if number % 2 else "tune"})
        logger.log_params({"epochs": number, "note": "\u00e4, 'quoted'", "empty": ""})
        for step, (loss, f1) in enumerate(zip(*values.values(), strict=True)):
            logger.log_metrics({"val/loss": loss, "val/f1": f1}, 2 - step)
        logger.finish("FAILED", "why") if number == 3 else logger.finish("FINISHED")
        made.append(logger.run_id)
    mlflow_tracker.client.delete_run(made[4])
    for tags in ({}, {"stage": "train"}, {"stage": "train", "status_detail": "why"}, {"stage": "no such"}):
        found, expected = mlflow_tracker.search(tags), through_client.search(tags)
        assert str(found) == str(expected), "NaN is not equal to itself"
        assert [list(run.metrics) for run in found] == [list(run.metrics) for run in expected], "columns come in this order"
    assert {run.run_id for run in mlflow_tracker.search({"stage": "tune"})} >= {made[0], made[2]}
    assert made[4] not in {run.run_id for run in mlflow_tracker.search()}
    for metric in (*values, "nothing"):
        found, expected = mlflow_tracker.read_histories(made[:4], metric), through_client.read_histories(made[:4], metric)
        assert str(found) == str(expected)
        assert list(found) == made[:4]


def test_an_artifact_is_read_where_it_lies_and_held_against_what_its_run_says_now(mlflow_tracker):
    logger = mlflow_tracker.start("artifact")
    logger.log_text("first", "predictions.csv")
    run = mlflow_tracker.get(logger.run_id)
    with mlflow_tracker.open_artifact(run, "predictions.csv") as file:
        lies, text = file, file.read_text()
    assert (text, lies.read_text()) == ("first", "first"), "it is no copy"
    logger.log_text("second", "predictions.csv")  # `evaluate --force true` meanwhile
    with mlflow_tracker.open_artifact(run, "predictions.csv") as file:
        assert file.read_text() == "second"
    lies.write_text("third")
    with pytest.raises(DamageError, match=r"predictions\.csv is damaged"), mlflow_tracker.open_artifact(run, "predictions.csv"):
        pass
    with pytest.raises(RunError, match=r"no artifact .none\.csv."), mlflow_tracker.open_artifact(run, "none.csv"):
        pass


def test_a_comparison_asks_the_store_as_often_for_many_runs_as_for_few(empty_store, tmp_path):
    reads = []
    for seeds in (1, 4):
        folder = tmp_path / str(seeds)
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
        make_store(folder, rows=2, seeds=seeds, texts=20)
        file = folder / "mlflow.db"
        address = f"sqlite:///{file}"
        with counted_reads(file) as of_results:
            assert len(load_results(address)) == 2 * 2 * seeds, "each has a run of `evaluate` beside"
        with counted_reads(file) as of_comparison:
            compared = compare.run(CompareConfig(study="all"), MlflowTracker(address))
        assert compared.table["seeds"].tolist() == [seeds, seeds]
        assert not compared.statistics.missing
        reads.append((len(of_results), len(of_comparison)))
    assert reads[0] == reads[1]
    assert 0 < reads[0][0] < 20
