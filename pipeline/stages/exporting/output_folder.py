"""The folder of an exported model: there whole or not at all, and never in the place of anything but an earlier export."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.atomic_io import synchronise, synchronise_below
from pipeline.errors import ConfigError, shorten
from pipeline.failures import writing_to
from pipeline.given_paths import expand
from pipeline.hashing import CHECKSUMS, find_damage, list_sealed, seal
from pipeline.modeling.foreign_folders import LABELS

_OLD, _NEW = ".fairtune-old-", ".fairtune-new-"


def check_output(output: str | None, force: bool) -> Path:
    """The folder to write.

    Raises:
        ConfigError: It is not given, or there is something that may not be replaced.
    """
    if not output:
        raise ConfigError("export needs --output: which folder to write.")
    target = Path(os.path.abspath(expand(output)))  # noqa: PTH100  # a link is to be seen as one
    shown = f"--output {shorten(output)}"
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise ConfigError(f"{shown}: is {'a link' if target.is_symlink() else 'a file'}. Name a folder.")
        if target.is_dir() and any(target.iterdir()):
            if not _is_export(target):
                raise ConfigError(
                    f"{shown}: holds files that export did not write, or that were changed since. Nothing of it is "
                    "overwritten: move it away, or name another folder."
                )
            if not force:
                raise ConfigError(f"{shown}: holds an exported model already. Name another folder, or add --force true.")
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be written ({error.strerror}).") from error
    if not os.access(target.parent, os.W_OK):
        raise ConfigError(f"{shown}: cannot be written (no right to write in {target.parent}).")
    return target


def _is_export(folder: Path) -> bool:
    """Whether all of it is as an export wrote it."""
    sealed = list_sealed(folder)
    there = {path.name for path in folder.iterdir()}
    return LABELS in sealed and there == {CHECKSUMS, *sealed} and find_damage(folder, sealed) is None


@contextlib.contextmanager
def writing_output(target: Path, force: bool) -> Iterator[Path]:
    """A folder beside to write into, which takes the place of `target` at the end, sealed by checksums.

    Nobody else may write the same one meanwhile.

    Raises:
        ConfigError: Something was put there since it was checked.
        SystemFailureError: The disk is full, or the like.
    """
    scratch, old = (target.with_name(f"{prefix}{target.name}") for prefix in (_NEW, _OLD))
    with writing_to(target):
        _clear(scratch)  # left by a process that was killed
        if old.is_dir() and not target.exists():
            old.replace(target)
        _clear(old)
        scratch.mkdir()
        try:
            yield scratch
            usual = (scratch / LABELS).stat().st_mode
            for file in scratch.iterdir():  # safetensors lets nobody but the owner read what it writes
                file.chmod(usual)
            seal(scratch)
            synchronise_below(scratch)
            check_output(str(target), force)  # much time may have passed
            if target.exists():
                target.replace(old)
            scratch.replace(target)
            synchronise(target.parent)
        finally:
            _clear(scratch)
            if target.exists():
                _clear(old)


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
