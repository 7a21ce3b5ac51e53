"""Failures of the system are known in whatever shape a library raises them, and said with what to do."""

import errno
import sqlite3

import pytest

from pipeline.errors import (
    ConfigError,
    DataError,
    MemoryFailureError,
    ModelError,
    PipelineError,
    StoreError,
    SystemFailureError,
)
from pipeline.failures import foreseen, is_exhausted, unforeseen, writing_to
from pipeline.tracking.retrying_client import store_error

# As NumPy, safetensors, SQLite and torch word them: each was seen on a full disk, or at a limit of memory.
SHAPES = {
    "The disk is full": [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("2000000 requested and 262112 written"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
        sqlite3.OperationalError("database or disk is full"),
    ],
    "The memory is used up": [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("could not create a primitive"),
        ImportError("lib.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    "The memory of the GPU is used up": [RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")],
    "Too many files are open": [OSError(errno.EMFILE, "Too many open files", "a.txt")],
    "the disk cannot be read or written any more": [OSError(errno.EIO, "Input/output error", "a.txt")],
    "permission denied": [PermissionError(errno.EACCES, "Permission denied", "a.txt")],
    "on a disk that can only be read": [
        OSError(errno.EROFS, "Read-only file system", "a.txt"),
        sqlite3.OperationalError("attempt to write a readonly database"),
    ],
}
EXHAUSTED = [error for message, errors in SHAPES.items() for error in errors if not message.startswith(("permission", "on a"))]


@pytest.mark.parametrize(("message", "error"), [(message, error) for message, errors in SHAPES.items() for error in errors])
def test_every_shape_is_known(message, error):
    found = foreseen(error)
    assert isinstance(found, SystemFailureError)
    assert isinstance(found, MemoryFailureError) == message.startswith("The memory")
    assert found.exit_status == 1
    assert message in str(found)
    assert str(found).endswith("run the same command again.")
    assert "\n" not in str(found)


def test_the_statement_and_advice_to_programmers_are_not_shown():
    said = "(raised as a result of Query-invoked autoflush; consider a block) (sqlite3.OperationalError) attempt to write a "
    said += "readonly database [SQL: INSERT INTO runs VALUES (?)] (Background on this error at: https://sqlalche.me/e/20/e3q8)"
    assert str(foreseen(Exception(said))) == (
        "(sqlite3.OperationalError) attempt to write a readonly database: is on a disk that can only be read, or may not be "
        "written to. Give another folder and run the same command again."
    )


@pytest.mark.parametrize("error", EXHAUSTED)
@pytest.mark.parametrize(
    "above", [ModelError("download the folder again"), DataError("delete the folder"), RuntimeError("pos 1")]
)
def test_what_ran_out_is_the_cause_whatever_is_said_above_it(error, above):
    above.__cause__ = error
    assert is_exhausted(above)
    assert str(foreseen(above)) == str(foreseen(error))


def test_a_mistake_of_input_stays_one():
    error = ConfigError("--cache-dir /: cannot be written (Permission denied). Give another folder.")
    error.__cause__ = PermissionError(errno.EACCES, "Permission denied")
    assert foreseen(error) is None
    assert foreseen(DataError("column 'out of memory' not found")) is None


@pytest.mark.parametrize("error", [KeyError("a"), ValueError("no"), OSError(errno.ENOENT, "No such file or directory")])
def test_others_are_not_foreseen(error):
    assert foreseen(error) is None
    assert not is_exhausted(error)
    assert str(unforeseen(error)).startswith(f"{type(error).__name__}: ")


def test_the_folder_is_named_and_an_error_of_ours_stays(tmp_path):
    with pytest.raises(SystemFailureError, match=rf"The disk is full \({tmp_path}\)"), writing_to(tmp_path):
        raise RuntimeError("unexpected pos 704 vs 598") from OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ZeroDivisionError), writing_to(tmp_path):
        raise ZeroDivisionError
    with pytest.raises(ConfigError, match="ours"), writing_to(tmp_path):
        raise ConfigError("ours")


def test_a_full_store_is_not_a_server_that_is_down():
    error = store_error("written", "sqlite:////a/mlflow.db", sqlite3.OperationalError("database or disk is full"))
    assert isinstance(error, StoreError)
    assert str(error).startswith("The tracking store sqlite:////a/mlflow.db cannot be written: The disk is full.")
    assert foreseen(error) is error
    assert "server" in str(store_error("read", "http://h:5000", ConnectionError("refused")))
    assert "server" not in str(store_error("opened", "sqlite:///a.db", sqlite3.DatabaseError("file is not a database")))


def test_a_failure_keeps_its_sentence_on_its_way_up():
    failure = foreseen(MemoryError())
    above = PipelineError("something else")
    above.__cause__ = failure
    assert foreseen(above) is failure
