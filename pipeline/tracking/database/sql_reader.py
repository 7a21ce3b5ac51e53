"""Many runs at once from the tables of an SQL tracking store: a few statements for each page of runs.

MLflow's client makes an object of every tag, parameter and metric, and reads histories and artifacts run by run. With a
thousand runs that takes minutes. What is read here is what its client gives; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlflow.tracking._tracking_service.utils import _get_store

if TYPE_CHECKING:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

PAGE = 500
"""Runs that a statement is of: every database takes so many values."""


@dataclass(frozen=True)
class StoredRun:
    """A run as the tables hold it."""

    run_id: str
    name: str
    status: str
    start_time: int
    experiment_id: str
    artifact_uri: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class SqlReader:
    """Reads the tables of a store."""

    def __init__(self, store: SqlAlchemyStore) -> None:
        """Take that of MLflow's client, whose connections and errors are used."""
        self._store = store

    def search(self, experiments: Sequence[str], tags: Mapping[str, str]) -> list[StoredRun]:
        """The runs of these experiments that carry the tags and were not deleted, the newest first."""
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun, SqlTag
        from sqlalchemy import select

        columns = (
            *(SqlRun.run_uuid, SqlRun.name, SqlRun.status, SqlRun.start_time),
            *(SqlRun.experiment_id, SqlRun.artifact_uri),
        )
        wanted = select(*columns).where(
            SqlRun.experiment_id.in_([int(experiment) for experiment in experiments]),
            SqlRun.lifecycle_stage == "active",
            *(
                SqlRun.run_uuid.in_(select(SqlTag.run_uuid).where(SqlTag.key == name, SqlTag.value == value))
                for name, value in tags.items()
            ),
        )
        found = self._rows(wanted.order_by(SqlRun.start_time.desc(), SqlRun.run_uuid))
        runs = {
            run_id: StoredRun(run_id, name or "", status, began, str(experiment), address)
            for run_id, name, status, began, experiment, address in found
        }
        for page in _pages(list(runs)):
            for table in (SqlTag, SqlParam):
                for run_id, name, value in self._rows(_of(page, table, table.value)):
                    (runs[run_id].tags if table is SqlTag else runs[run_id].params)[name] = value
            for run_id, name, value, is_nan in self._rows(
                _of(page, SqlLatestMetric, SqlLatestMetric.value, SqlLatestMetric.is_nan)
            ):
                runs[run_id].metrics[name] = float("nan") if is_nan else value
        return list(runs.values())

    def histories(self, run_ids: Iterable[str], metric: str) -> dict[str, list[tuple[int, float]]]:
        """Run id -> (step, value) of every record of a metric, in no order."""
        from mlflow.store.tracking.dbmodels.models import SqlMetric

        histories: dict[str, list[tuple[int, float]]] = {}
        for page in _pages(list(run_ids)):
            statement = _of(page, SqlMetric, SqlMetric.step, SqlMetric.value, SqlMetric.is_nan)
            ordered = statement.where(SqlMetric.key == metric).order_by(SqlMetric.timestamp, SqlMetric.step, SqlMetric.value)
            for run_id, _, step, value, is_nan in self._rows(ordered):
                histories.setdefault(run_id, []).append((step, float("nan") if is_nan else value))
        return histories

    def _rows(self, statement: Any) -> Sequence[Any]:
        with self._store.ManagedSessionMaker() as session:
            rows: Sequence[Any] = session.execute(statement).all()
        return rows


def open_reader(tracking_uri: str) -> SqlReader | None:
    """For a store whose tables MLflow's client reads itself; None for a server, or where not every user may read all."""
    if tracking_uri.startswith("http"):
        return None
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = _get_store(tracking_uri)
    return SqlReader(store) if type(store) is SqlAlchemyStore else None


def _of(page: Sequence[str], table: Any, *columns: Any) -> Any:
    """Run id, name and these columns of the runs' rows in a table."""
    from sqlalchemy import select

    return select(table.run_uuid, table.key, *columns).where(table.run_uuid.in_(page))


def _pages(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(run_ids), PAGE):
        yield run_ids[start : start + PAGE]
