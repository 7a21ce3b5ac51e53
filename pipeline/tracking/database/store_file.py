"""The file of an SQLite tracking store: made whole or not at all, and recognised where MLflow left it half made.

MLflow makes its tables in the file itself, step by step and without a lock. A process that is stopped meanwhile, or a second
one, leaves a file that no later command can use. So the file is made beside, under a lock, and gets its name once it is whole.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
from filelock import FileLock

from pipeline.errors import StoreError

_LOG = logging.getLogger(__name__)
_SECONDS_OF_QUIET = 15.0
"""A file that is not whole and was not written to for so long is nobody's work in progress."""
_SECONDS_OF_EMPTINESS = 3.0
"""The same of an empty file without a journal, which is as good as none."""
_MAKING = ".making-"


def database_file(uri: str) -> Path | None:
    """The file that a tracking URI names; None for servers, databases in memory and whatever else is none."""
    if not uri.startswith("sqlite"):
        return None  # and a server is spared the import of SQLAlchemy
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        return None
    if url.get_backend_name() != "sqlite" or url.query or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()


def local_folder(artifact_uri: str) -> Path | None:
    """The folder on this machine in which artifacts lie; None where they are elsewhere."""
    if artifact_uri.startswith("file:"):
        return Path(url2pathname(urlsplit(artifact_uri).path))
    elsewhere = "://" in artifact_uri or artifact_uri.startswith("mlflow-artifacts:")
    return None if elsewhere else Path(artifact_uri)


def ensure_store(uri: str) -> None:
    """Make the store's file if it is missing, and hold that it is whole if it is there; other stores are left alone.

    Raises:
        StoreError: Another program left the file half made.
        OSError: It cannot be made.
    """
    named = database_file(uri)
    if named is None:
        return
    file = Path(os.path.realpath(named))  # beside the file itself where it is named by a link
    _wait_for_others(file, named)
    if _is_empty(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f".{file.name}.lock")
        with FileLock(lock):
            try:
                if _is_empty(file):  # nobody was quicker
                    _make(file)
            finally:
                lock.unlink(missing_ok=True)  # whoever waits for it looks whether it is still there
    elif _is_half_made(file):
        files = " and ".join(str(path) for path in (named, _journal(file)) if path.exists())
        raise StoreError(
            f"The tracking store {named} is half made: the program that began it, such as `mlflow run` or `mlflow ui`, was "
            f"stopped meanwhile. There is no run in it. Delete {files} and run the command again."
        )
    else:
        with contextlib.suppress(OSError):  # a folder that is for reading alone
            for left in file.parent.glob(f".{file.name}.*"):  # by a process that was stopped when the file had its name
                left.unlink(missing_ok=True)


def _make(file: Path) -> None:
    """Make a whole store beside the file and put it in its place; whoever calls holds the lock."""
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import URL

    for stale in file.parent.glob(f".{file.name}{_MAKING}*"):  # left by a process that was killed
        stale.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}{_MAKING}")
    os.close(descriptor)
    scratch = Path(name)
    try:
        with unsynchronised():
            # As MLflow makes its own: the address of artifacts stands in the experiment "Default" alone.
            address = URL.create("sqlite", database=str(scratch)).render_as_string()
            SqlAlchemyStore(address, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()
        scratch.chmod(0o666 & ~_umask())  # temporary files are for their owner alone
        with scratch.open("rb") as made:
            os.fsync(made.fileno())
        if _is_empty(file):
            file.unlink(missing_ok=True)
            _journal(file).unlink(missing_ok=True)  # of a file that is gone; SQLite would play it back into the new one
        _link(scratch, file)
    finally:
        for left in file.parent.glob(f"{scratch.name}*"):  # its journal, too
            left.unlink(missing_ok=True)


def _link(scratch: Path, file: Path) -> None:
    """Give the file its name; never in the place of one that another program has made meanwhile, as a rename would."""
    try:
        file.hardlink_to(scratch)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        scratch.rename(file)


@contextlib.contextmanager
def unsynchronised() -> Iterator[None]:
    """Without waiting for the disk at each of several hundred statements: the file is synchronised once, when it is whole."""
    from sqlalchemy import Engine, event

    def relax(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):  # other databases have no such switch
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)


def _wait_for_others(file: Path, named: Path) -> None:
    """Wait as long as a process of MLflow's own is making the file."""
    seen, since, said = None, time.monotonic(), False
    while file.exists() and (_is_empty(file) or _is_half_made(file)):
        journal = _journal(file)
        present = [path.stat() for path in (file, journal) if path.exists()]
        state = [(status.st_mtime_ns, status.st_size) for status in present]
        if state != seen:
            seen, since = state, time.monotonic()
        quiet = max(time.monotonic() - since, time.time() - max((status.st_mtime for status in present), default=0.0))
        if quiet >= (_SECONDS_OF_EMPTINESS if _is_empty(file) and not journal.exists() else _SECONDS_OF_QUIET):
            return
        if not said:
            _LOG.warning("The tracking store %s is not whole yet; waiting for the process that is making it.", named)
            said = True
        time.sleep(0.25)


def _is_empty(file: Path) -> bool:
    """Whether there is no more than the empty file that SQLite begins with."""
    try:
        return file.stat().st_size == 0
    except FileNotFoundError:
        return True


def _is_half_made(file: Path) -> bool:
    """Whether MLflow began to make its tables there and did not come to the end; a store that was used is none.

    What is no store of MLflow's, or cannot be read, is left to MLflow to judge.
    """
    try:
        with contextlib.closing(_connect(file)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not names & {"runs", "experiments", "alembic_version"} or _is_used(connection, names):
                return False
            has_version = "alembic_version" in names
            versions = set(connection.execute("SELECT version_num FROM alembic_version")) if has_version else set()
    except sqlite3.Error:
        return False
    from alembic.script import ScriptDirectory

    migrations = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    return versions != {(migrations.get_current_head(),)}


def _is_used(connection: sqlite3.Connection, names: set[str]) -> bool:
    """Whether there is more than the experiment with which MLflow begins."""
    most = {"runs": 0, "experiments": 1, "registered_models": 0}
    return any(
        connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] > count
        for name, count in most.items()
        if name in names
    )


def _connect(file: Path) -> sqlite3.Connection:
    """For reading; SQLite takes back what a killed process had begun to write, where it may write at all."""
    mode = "rw" if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK) else "ro"
    return sqlite3.connect(f"{file.as_uri()}?mode={mode}", uri=True, timeout=60)


def _journal(file: Path) -> Path:
    return file.with_name(f"{file.name}-journal")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
