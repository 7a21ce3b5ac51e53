"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from pipeline.errors import DataError, PipelineError
from pipeline.failures import is_exhausted, unforeseen, writing_to

_PREFIX = ".writing-"


@contextlib.contextmanager
def writing(folder: Path, cache_dir: str) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` at the end, in the place of an older one; left empty, it changes nothing.

    Writers of one kind of folder wait for each other. So who writes what others write, too, looks first whether it is there by
    now, and does not take it away while they read it; and whatever else is found half written was left by a process that was
    killed, and is removed.

    Raises:
        DataError: The cache cannot be written.
        SystemFailureError: The disk is full.
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
                if any(scratch.iterdir()):
                    if folder.exists():  # moved, not removed, so that there is one or the other but for a moment
                        folder.replace(scratch.with_name(f"{scratch.name}-old"))
                    scratch.replace(folder)
            finally:  # also when interrupted, or the disk is full
                for left in (scratch, scratch.with_name(f"{scratch.name}-old")):
                    shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise _unwritable(cache_dir, error) from error


def replace_text(file: Path, text: str, alone: bool = False) -> None:
    """Write a file, in the place of an older one: it is the old or the new one whole, also where several processes write it.

    Args:
        alone: Whether nobody else writes it, as under a lock: what is half written was then left by a process that was killed,
            and is removed.
    """
    with writing_to(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        for stale in file.parent.glob(f"{_PREFIX}*-{file.name}") if alone else ():
            stale.unlink(missing_ok=True)
        scratch = file.with_name(f"{_PREFIX}{uuid.uuid4().hex}-{file.name}")  # each its own, or one would take away the other's
        try:
            scratch.write_text(text, encoding="utf-8")
            synchronise(scratch)
            scratch.replace(file)
            synchronise(file.parent)
        finally:
            scratch.unlink(missing_ok=True)


def synchronise(path: Path) -> None:
    """Return once a file's content, or which files a folder holds, is on the disk and survives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot do that of folders
            raise
    finally:
        os.close(descriptor)


def synchronise_below(folder: Path) -> None:
    """The same of all files below a folder, and of the folders."""
    for path in [*folder.rglob("*"), folder]:
        synchronise(path)


def _unwritable(cache_dir: str, error: Exception) -> PipelineError:
    if is_exhausted(error):
        return unforeseen(error, f"--cache-dir {cache_dir}")
    return DataError(f"--cache-dir {cache_dir}: cannot be written ({error}). Give another folder.")
