"""A store's file is there whole or not at all, whoever is stopped while it is made and however many make it at once."""

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import StoreError
from pipeline.tracking import open_to_read, open_tracker
from pipeline.tracking.database import store_file
from pipeline.tracking.database.store_file import database_file, ensure_store
from pipeline.tracking.mlflow_runs import MlflowTracker

MOMENTS = int(os.environ.get("STORE_KILLS", "4"))  # of each signal; more by hand


def address(file: Path) -> str:
    return f"sqlite:///{file}"


def forked(make) -> int:
    """The process in which a function runs, so that the heavy imports are paid once."""
    if (pid := os.fork()) == 0:
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.default_int_handler)  # as the command line has it
            make()
            status = 0
        finally:
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def is_usable(file: Path) -> bool:
    """Whether the next command can make a run there, and nothing but the file is left."""
    tracker = MlflowTracker(address(file))
    tracker.start("next").finish("FINISHED")
    return len(tracker.search()) == 1 and [path.name for path in file.parent.iterdir() if path.name != "mlruns"] == [file.name]


@pytest.fixture(scope="module")
def seconds(tmp_path_factory) -> float:
    """How long it takes to make a store in a process of its own."""
    file = tmp_path_factory.mktemp("timed") / "mlflow.db"
    ensure_store(address(file.with_name("warm.db")))
    began = time.perf_counter()
    assert ended(forked(lambda: ensure_store(address(file)))) == 0
    return time.perf_counter() - began


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_at_any_moment_the_next_command_works(tmp_path, seconds, number):
    stopped = 0
    for moment in range(MOMENTS):
        file = tmp_path / f"{moment}" / "mlflow.db"
        pid = forked(lambda file=file: ensure_store(address(file)))
        time.sleep(seconds * (moment + random.random()) / MOMENTS)
        os.kill(pid, number)
        stopped += ended(pid) != 0
        assert is_usable(file), f"stopped at moment {moment}"
    assert stopped > 0


def test_what_is_left_beside_a_whole_store_goes(tmp_path):
    file = tmp_path / "mlflow.db"
    ensure_store(address(file))
    for left in (f".{file.name}.lock", f".{file.name}{store_file._MAKING}abc", f".{file.name}{store_file._MAKING}abc-journal"):
        file.with_name(left).touch()
    assert is_usable(file)


@pytest.mark.parametrize("processes", [4, 8])
def test_many_at_once_on_a_fresh_store(tmp_path, processes):
    file = tmp_path / "new" / "runs.db"

    def train() -> None:
        MlflowTracker(address(file)).start("training").finish("FINISHED")

    assert [ended(pid) for pid in [forked(train) for _ in range(processes)]] == [0] * processes
    assert len(MlflowTracker(address(file)).search()) == processes


def half_made(file: Path) -> None:
    """Tables as MLflow begins with them, at a step of its migrations, and long enough ago."""
    ensure_store(address(file))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        connection.execute("DELETE FROM experiments")
    connection.close()
    os.utime(file, (1e9, 1e9))


def without_version(file: Path) -> None:
    ensure_store(address(file))
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE alembic_version")
    connection.close()
    os.utime(file, (1e9, 1e9))


@pytest.mark.parametrize("spoil", [half_made, without_version])
def test_what_mlflow_left_half_made_is_named(tmp_path, spoil):
    file = tmp_path / "mlflow.db"
    spoil(file)
    journal = file.with_name("mlflow.db-journal")
    journal.write_bytes(b"")
    os.utime(journal, (1e9, 1e9))
    with pytest.raises(StoreError, match=rf"is half made: .*Delete {file} and .*mlflow\.db-journal and run the command again"):
        MlflowTracker(address(file))


def test_mlflow_stopped_in_its_own_making_is_recognised(tmp_path):
    """The real thing: what MLflow's own client leaves at some moment is either whole, or empty, or named."""
    named = 0
    for moment in range(2):
        file = tmp_path / f"{moment}" / "mlflow.db"
        pid = forked(lambda file=file: MlflowClient(address(file)).search_experiments())
        while not (file.exists() and file.stat().st_size > 4096 * (1 + 40 * moment)):
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        sqlite3.connect(file).execute("SELECT * FROM sqlite_master").connection.close()  # takes back what was not finished
        os.utime(file, (1e9, 1e9))
        try:
            ensure_store(address(file))
        except StoreError as error:
            assert f"Delete {file}" in str(error)  # noqa: PT017
            file.unlink()
            named += 1
        assert is_usable(file)
    assert named > 0


def test_who_makes_it_is_waited_for(tmp_path, monkeypatch):
    file = tmp_path / "mlflow.db"
    half_made(file)
    os.utime(file)  # written to just now

    def finish(_seconds: float) -> None:
        file.unlink()
        ensure_store(address(file))

    monkeypatch.setattr(store_file.time, "sleep", finish)
    MlflowTracker(address(file))


def test_an_empty_file_and_a_stale_journal_are_as_good_as_none(tmp_path):
    file = tmp_path / "mlflow.db"
    file.touch()
    file.with_name("mlflow.db-journal").write_bytes(b"\0" * 512)
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))
    assert is_usable(file)


def test_a_used_store_of_another_version_is_left_to_mlflow(tmp_path):
    file = tmp_path / "mlflow.db"
    MlflowTracker(address(file)).start("run").finish("FINISHED")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    connection.close()
    os.utime(file, (1e9, 1e9))
    ensure_store(address(file))
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///:memory:", "http://127.0.0.1:5000", "postgresql://a/b", "./mlruns", "databricks", ""]
)
def test_other_stores_are_left_alone(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    assert database_file(uri) is None
    ensure_store(uri)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a folder", "100%41 sure"])
def test_the_store_of_a_folder_with_any_name_is_found(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    open_tracker().start("run").finish("FINISHED")
    assert (folder / "mlflow.db").exists()
    assert len(open_to_read().search()) == 1  # a dry run sees it, too


def test_a_link_to_a_file_that_is_not_there_yet(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "mlflow.db"
    link.symlink_to(tmp_path / "disk" / "real.db")
    MlflowTracker(address(link)).start("run").finish("FINISHED")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.db").stat().st_size > 0
