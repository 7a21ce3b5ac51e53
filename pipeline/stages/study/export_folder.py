"""The folder of an export. Only files that this project wrote there are replaced or deleted.

A marker file beside `results/` and `models/` lists what was written, with checksums. So the user's files, and files that the
user has edited, are recognised.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import cast

from filelock import FileLock

from pipeline.atomic_io import replace_text
from pipeline.errors import ConfigError, shorten
from pipeline.failures import writing_to
from pipeline.hashing import hash_file, read_with_checksum, with_checksum

MARKER = ".fairtune_export.json"
_SCRATCH, _LOCK = ".fairtune_export-", ".fairtune_export.lock"
_PARTS = ("results", "models")

Listed = dict[str, list[str]]
"""Path below the folder, with slashes -> every checksum that the file may have; two while it is being replaced."""


def check_export_folder(target: Path) -> None:
    """Hold that nothing stands in the way of an export but an earlier one.

    Raises:
        ConfigError: There are files of somebody else, files that were changed after they were exported, or links.
    """
    if not target.is_dir():
        if os.path.lexists(target):
            raise ConfigError(f"--export-dir {target}: cannot be written: it is not a folder. Give another one.")
        return
    listed = _read_marker(target)
    complaints = [complaint for part in _PARTS for complaint in _complaints(target, target / part, listed)]
    if complaints:
        more = f"; and {len(complaints) - 3} more" if len(complaints) > 3 else ""
        raise ConfigError(
            f"--export-dir {target}: {'; '.join(map(shorten, complaints[:3]))}{more}. Nothing of it is overwritten: "
            "move it away, or give another folder."
        )


@contextlib.contextmanager
def exporting(target: Path) -> Iterator[tuple[Path, set[str]]]:
    """A folder with `results/` and `models/` to write into, which take the place of an earlier export's at the end.

    Models of an earlier export that this one has no other of stay; its other files go, but for those that the block puts
    into the set, as paths below the folder.

    Raises:
        ConfigError: Something of the user's stands in the way.
        SystemFailureError: The disk is full, or the like; the earlier export is as it was.
    """
    check_export_folder(target)
    with writing_to(target):
        target.mkdir(parents=True, exist_ok=True)
        lock = target / _LOCK
        with FileLock(lock):
            for stale in target.glob(f"{_SCRATCH}*"):  # left by a process that was killed
                shutil.rmtree(stale, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(dir=target, prefix=_SCRATCH))
            try:
                for part in _PARTS:
                    (scratch / part).mkdir()
                keep: set[str] = set()
                yield scratch, keep
                _put_in_place(scratch, target, keep)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
                lock.unlink(missing_ok=True)


def _put_in_place(scratch: Path, target: Path, keep: Collection[str]) -> None:
    check_export_folder(target)  # much time may have passed
    before = _read_marker(target)
    after = {file.relative_to(scratch).as_posix(): [hash_file(file)] for file in scratch.rglob("*") if file.is_file()}
    names = before.keys() | after.keys()
    # Killed from here on, the next export knows both the old files and the new ones for ours.
    _write_marker(target, {name: before.get(name, []) + after.get(name, []) for name in names})
    for name in after:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).replace(target / name)
    for part in _PARTS:
        (target / part).mkdir(exist_ok=True)
    for name in before.keys() - after.keys():
        if name.startswith("models/") or name in keep:
            after[name] = before[name]
        else:
            (target / name).unlink(missing_ok=True)
    _write_marker(target, {name: sums for name, sums in after.items() if (target / name).is_file()})


def _complaints(target: Path, path: Path, listed: Listed) -> Iterator[str]:
    """What stands in the way at or below a path; hidden files do not, as nothing of ours is hidden."""
    name = path.relative_to(target).as_posix()
    if path.is_symlink():
        yield f"{name} is a link"
    elif path.is_dir():
        if name.startswith("results/"):
            yield f"{name} is a folder that this project did not write"
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith("."):
                yield from _complaints(target, entry, listed)
    elif path.exists():
        if name not in listed:
            yield f"{name} was not written by this project"
        elif hash_file(path) not in listed[name]:
            yield f"{name} was changed after it was exported"


def _read_marker(target: Path) -> Listed:
    """What earlier exports wrote; nothing where the list is missing or damaged, so that nothing counts as ours."""
    try:
        return cast(Listed, read_with_checksum((target / MARKER).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _write_marker(target: Path, listed: Listed) -> None:
    replace_text(target / MARKER, with_checksum(listed))
