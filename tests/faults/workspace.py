"""A folder in which a case happens: data, cache, tracking store and artifacts, put back to what they were before each case."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_encoders import FAMILIES
from tiny_reviews import write_reviews

_ROWS = 96


@dataclass(frozen=True)
class Workspace:
    """The folder; always the same one, since a store knows its artifacts by their addresses."""

    root: Path

    @property
    def folder(self) -> Path:
        """Where commands are given."""
        return self.root / "work"

    @property
    def cache(self) -> Path:
        """`--cache-dir`."""
        return self.folder / ".cache"

    @property
    def store(self) -> Path:
        """The folder of the tracking store's file."""
        return self.folder / "store"

    @property
    def database(self) -> Path:
        """The tracking store."""
        return self.store / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The folder of the experiment's artifacts."""
        return self.folder / "artifacts"

    @property
    def scratch(self) -> Path:
        """Where temporary files go."""
        return self.folder / "tmp"

    @property
    def environment(self) -> dict[str, str]:
        """What a command finds beside our own environment."""
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{self.database}", "TMPDIR": str(self.scratch), "COLUMNS": "500"}

    @property
    def options(self) -> dict[str, str]:
        """A training of two seconds with everything in it: dropout, activations that are cached, three checkpoints an epoch."""
        return {
            "model": str(self.root / "tiny"),
            "dataset": str(self.root / "reviews.csv"),
            "epochs": "2",
            "batch_size": "8",
            "eval_steps": "4",
            "logging_steps": "1",
            "learning_rate": "3e-3",
            "dropout": "0.2",
            "precision": "fp32",
        }

    def make(self) -> None:
        """Write model and data, and the template `empty`: a store with its tables and no run."""
        self.root.mkdir(parents=True, exist_ok=True)
        FAMILIES["bert"](self.root / "tiny", True)
        for path in (self.root / "tiny").iterdir():  # transformers lets the owner alone read weights
            path.chmod(0o644)
        write_reviews(self.root / "reviews.csv", _ROWS, seed=0)
        write_reviews(self.root / "others.csv", _ROWS, seed=1)
        for folder in (self.store, self.artifacts, self.scratch, self.cache):
            folder.mkdir(parents=True)

    def keep(self, template: str) -> None:
        """Make a template of the folder as it is."""
        for file in self.folder.glob("output-*"):
            file.unlink()
        shutil.rmtree(self.root / template, ignore_errors=True)
        shutil.copytree(self.folder, self.root / template, symlinks=True)

    def restore(self, template: str) -> None:
        """Put the folder back."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.root / template, self.folder, symlinks=True)

    def litter(self) -> list[str]:
        """What is below the folder apart from runs' artifacts and our own files, with ids made equal."""
        found = []
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir() and any(path.iterdir()):
                continue
            if name.startswith(("output-", "calls")) or (path.is_dir() and ("/" not in name or name.startswith("artifacts/"))):
                continue
            name = re.sub(r"[0-9a-f]{32}", "ID", name)
            if not name.startswith("artifacts/ID/artifacts/"):
                found.append(name)
        return found

    def orphans(self) -> list[str]:
        """Folders of artifacts whose run is not in the store."""
        known = read_statuses(self.database)
        return [f"artifacts/{path.name}" for path in sorted(self.artifacts.iterdir()) if path.name not in known]

    def forget_reads(self) -> None:
        """Let no file count as opened; `list_reads` says which are from now on."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                os.utime(path, ns=(0, path.stat().st_mtime_ns))

    def list_reads(self) -> frozenset[str]:
        """Files that have been opened or made since; on a file system that is mounted with `noatime` only made."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.stat().st_atime_ns]
        return frozenset(path.relative_to(self.folder).as_posix() for path in files)

    @contextlib.contextmanager
    def small_disk(self, folder: Path, size: str = "64m") -> Iterator[None]:
        """A file system of its own at a folder, with what is in it."""
        aside = folder.with_name(f"{folder.name}-aside")
        folder.rename(aside)
        folder.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
        try:
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            shutil.rmtree(aside)
            yield
            shutil.copytree(folder, aside)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
            folder.rmdir()
            if aside.exists():
                aside.rename(folder)


def mount(*arguments: str) -> None:
    """Call `mount`.

    Raises:
        OSError: It was refused.
    """
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip())


def cannot_mount() -> str:
    """Why no file system can be mounted here; empty where one can."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
        except OSError as error:
            return f"no small file system can be mounted here ({error})"
        subprocess.run(["umount", "-l", folder], check=True)
    return ""


def read_statuses(database: Path) -> dict[str, str]:
    """Run id -> status, read without MLflow; nothing where there is no store."""
    if not database.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        return dict(connection.execute("SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"))


def typed(stage: str, options: Mapping[str, Any]) -> list[str]:
    """The words of a command."""
    return [stage, *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]


def is_root() -> bool:
    """Whether modes of files mean nothing to us."""
    return os.geteuid() == 0
