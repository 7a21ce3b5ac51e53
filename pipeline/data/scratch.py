"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from pipeline.errors import DataError

_PREFIX = ".writing-"


@contextlib.contextmanager
def writing(folder: Path, cache_dir: str) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` at the end, in the place of an older one.

    Writers of one kind of folder wait for each other, so whatever else is found half written was left by a process that was
    killed, and is removed.

    Raises:
        DataError: The cache cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritable(cache_dir, error) from error
    try:
        with FileLock(folder.parent.with_name(f"{folder.parent.name}.lock")):
            for stale in folder.parent.glob(f"{_PREFIX}*"):
                shutil.rmtree(stale, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_PREFIX))
            try:
                yield scratch
                shutil.rmtree(folder, ignore_errors=True)
                scratch.replace(folder)
            except BaseException:  # interrupted, or the disk is full
                shutil.rmtree(scratch, ignore_errors=True)
                raise
    except OSError as error:
        raise _unwritable(cache_dir, error) from error


def replace_text(file: Path, text: str) -> None:
    """Write a file, in the place of an older one: it is the old or the new one whole, also where several processes write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f"{_PREFIX}{uuid.uuid4().hex}-{file.name}")  # each its own, or one would take away the other's
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def _unwritable(cache_dir: str, error: Exception) -> DataError:
    return DataError(f"--cache-dir {cache_dir}: cannot be written ({error}). Give another folder.")
