"""Which code decides a result: a hash over the folders that it lives in, the plug-ins used, and the libraries below.

The commit would not do: most commits change nothing that a training computes, and edits that are not committed do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from pipeline.hashing import digest

ROOT = Path(__file__).parent
"""The package, whose files are hashed."""

FOLDERS = ("data", "modeling", "strategies", "objectives", "evaluation", "training")
"""All that decides what a training computes, or what a test scores, is in these."""
PLUGINS = (
    "data/sources",
    "modeling/families",
    "modeling/heads",
    "strategies/methods",
    "objectives/kinds",
    "objectives/losses",
)
"""Folders in which a file counts where it is used; what all plug-ins share stands beside them, and always does.

No source is used here: what it gave counts as the fingerprint of the data.
"""
TESTING = "evaluation/testing"
"""Counts for tests alone."""
_AFTERWARDS = ("evaluation/statistics",)  # looks at results that are there
_PICTURES = "plots.py"
_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "tokenizers")
_PROJECT = "fairtune"


def code_version(plugins: Sequence[str], packages: Sequence[str] = (), *, test: bool = False) -> str:
    """Equal where the code is the same that decides what a training computes, or what a test scores.

    A file counts as it was when this process first asked, which is about what it imported.

    Args:
        plugins: Modules of those used, such as `pipeline.strategies.methods.lora`; one that is not there counts as empty.
        packages: What is used besides the libraries that everything uses; one that is not installed counts, too.
        test: Of a test, and not of a training.
    """
    files = _read(ROOT)
    used = _with_siblings(plugins, files)
    counted = {path: files[path][0] for path in files if path in used or _always_counts(path, test)}
    return digest([sorted(used), counted, {name: installed_version(name) for name in (*_LIBRARIES, *packages)}])


@cache
def _read(root: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Path of each file in the folders -> its hash, and the files beside it that it imports."""
    files = {}
    for file in (file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        path, source = file.relative_to(root), file.read_text(encoding="utf-8")
        package = re.escape(".".join(("pipeline", *path.parent.parts)))
        siblings = re.findall(rf"\b{package}(?:\.| import )(\w+)", source)
        files[path.as_posix()] = digest(source), frozenset(path.with_name(f"{name}.py").as_posix() for name in siblings)
    return files


def _with_siblings(plugins: Sequence[str], files: dict[str, tuple[str, frozenset[str]]]) -> set[str]:
    """The files of plug-ins, and of the plug-ins beside them that they are made of, as dora is of lora."""
    used: set[str] = set()
    waiting = {f"{name.removeprefix('pipeline.').replace('.', '/')}.py" for name in plugins}
    while waiting:
        used |= waiting
        waiting = {path for name in waiting if name in files for path in files[name][1]} - used
    return used


def _always_counts(path: str, test: bool) -> bool:
    folder, _, name = path.rpartition("/")
    if folder in PLUGINS:
        return name == "__init__.py"
    return name != _PICTURES and folder not in _AFTERWARDS and (test or folder != TESTING)


@cache
def installed_version(package: str) -> str:
    """Of a package in this environment, as it was when this process first asked; `not installed` where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def how_to_install(*packages: str) -> str:
    """What to run for packages that are not installed with the project: the extra that pins them all, or else their names.

    The project is installed from its folder, and so are its extras.
    """
    try:
        requirements = requires(_PROJECT) or []
    except PackageNotFoundError:  # where only the pins were installed, as MLflow does
        requirements = []
    extras: dict[str, set[str]] = {}
    for requirement in requirements:
        if found := re.match(r"([\w.-]+).*extra == [\"'](\w+)[\"']", requirement):
            extras.setdefault(found[2], set()).add(found[1])
    extra = next((extra for extra, pinned in extras.items() if pinned >= {*packages}), None)
    return f"`pip install '.[{extra}]'` in the project's folder" if extra else f"`pip install {' '.join(packages)}`"
