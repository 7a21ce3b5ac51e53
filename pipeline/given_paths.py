"""Paths as somebody wrote them down, who may have written anything."""

from __future__ import annotations

import os
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that is longer than any file's can be names none.

    `Path.is_file` raises an OSError then, up to Python 3.13.
    """
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, likewise."""
    return os.path.isdir(path)  # noqa: PTH112


def expand(name: str) -> Path:
    """The path, with the home folder for `~`. That of a user who is not there stays as it stands: nothing is found at it.

    `Path.expanduser` raises a RuntimeError then.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)
