"""Work that two processes must not do at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import PipelineError


@contextlib.contextmanager
def claim(lock: Path, what: str) -> Iterator[None]:
    """Keep other processes from the same work for as long as the block lasts; the system lets go of it when we die.

    Args:
        lock: A file that stands for the work.
        what: The work, such as `training`.

    Raises:
        PipelineError: Another process is at it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise PipelineError(
            f"The same {what} is running already (lock {lock}). Wait for it, or give another --seed or --cache-dir."
        ) from error
    try:
        yield
    finally:
        held.release()
