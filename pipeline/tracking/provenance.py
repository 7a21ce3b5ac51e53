"""Which code computes something: a hash over the source files that decide it, and over the versions of the libraries below.

The commit would not do: most commits change nothing that a training computes, and edits that are not committed do.
"""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.errors import hide_credentials
from pipeline.hashing import digest

ROOT = Path(__file__).parents[1]
"""The folder of the package whose files are hashed."""

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "tokenizers")
# Imports are followed into these alone: trackers, messages and tables change no result.
_DECIDING = ("data", "modeling", "strategies", "training", "evaluation", "objectives")
_PICTURES = "plots"


def code_version(modules: Sequence[str], packages: Sequence[str] = ()) -> str:
    """SHA-256 over the modules, all that they import of what decides a result, and the versions of the libraries.

    A file counts as it was when this process first asked, which is about what it imported.

    Args:
        modules: Names such as `pipeline.strategies.methods.lora`; one that is not there counts as empty.
        packages: What is used besides the libraries that everything uses; one that is not installed counts, too.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imported = _read(ROOT, name)
            waiting += [other for other in imported if _decides(other)]
    return digest([found, {name: _version(name) for name in (*_LIBRARIES, *packages)}])


def list_imported(modules: Sequence[str]) -> list[Path]:
    """The files of the package that the modules and all that they import are made of, relative to the package's folder.

    What stands in functions is followed, too; of a package on the way to a module only what importing it runs.
    """
    files: set[Path] = set()
    waiting, seen = list(modules), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file(ROOT, name)
        if path is not None:
            files.add(path)
            waiting += _read(ROOT, name)[1]
    for folder in {parent for file in files for parent in file.parents if parent.is_relative_to(ROOT)}:
        package = folder / "__init__.py"
        files.add(package)
        for statement in ast.parse(package.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                missing = [name for name in _imports(ROOT, statement) if (path := _file(ROOT, name)) and path not in files]
                files.update(ROOT / file for file in (list_imported(missing) if missing else ()))
    return sorted(file.relative_to(ROOT) for file in files)


@cache
def _read(root: Path, module: str) -> tuple[str, tuple[str, ...]]:
    """The hash of a module's file and the names of our modules that it imports, wherever in the file it does."""
    path = _file(root, module)
    if path is None:
        return "", ()
    source = path.read_text(encoding="utf-8")
    return digest(source), tuple(dict.fromkeys(_imports(root, ast.parse(source))))


def _imports(root: Path, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        # `from pipeline.modeling import loading` names a module, too.
        yield from (name for alias in node.names if _file(root, name := f"{node.module}.{alias.name}"))
    elif not isinstance(node, ast.expr):  # an import is a statement, and expressions, which are most of a file, hold none
        for child in ast.iter_child_nodes(node):
            yield from _imports(root, child)


def _decides(module: str) -> bool:
    parts = module.split(".")
    return len(parts) > 1 and parts[0] == "pipeline" and parts[1] in _DECIDING and parts[-1] != _PICTURES


def _file(root: Path, module: str) -> Path | None:
    top, *parts = module.split(".")
    if top != "pipeline" or not parts:
        return None
    path = root.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


_PACKAGES = ("torch", "transformers", "datasets", "peft", "accelerate", "mlflow", "scikit-learn", "pandas", "numpy")


@cache
def git_commit() -> str:
    """The commit of the code, `-dirty` behind it where tracked files were changed; `unknown` outside a checkout."""
    root = Path(__file__).parents[2]
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def environment() -> dict[str, Any]:
    """Versions, hardware and command line, ready for JSON."""
    import torch

    found = {"python": platform.python_version(), "platform": platform.platform()}
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    hardware = {"cpu": cpu_name(), "cpus": os.cpu_count(), "torch_threads": torch.get_num_threads(), "cuda": cuda}
    command = [hide_credentials(word) for word in sys.argv]
    return {**found, "packages": packages, "hardware": hardware, "command": command, "git_commit": git_commit()}


def hardware() -> str:
    """What times and memory depend on, in a line: the GPU's name, or the CPU's with the number of threads."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{cpu_name() or 'CPU'}, {torch.get_num_threads()} threads"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def cpu_name() -> str:
    """The CPU's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
