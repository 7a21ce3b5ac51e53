"""What made a run: the commit, the machine, and the versions of the packages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.code_version import installed_version
from pipeline.errors import hide_credentials

PACKAGES = ("torch", "transformers", "datasets", "peft", "accelerate", "mlflow", "scikit-learn", "pandas", "numpy")


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

    system = {"python": platform.python_version(), "platform": platform.platform()}
    packages = {name: installed_version(name) for name in PACKAGES}
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    hardware = {"cpu": cpu_name(), "cpus": os.cpu_count(), "torch_threads": torch.get_num_threads(), "cuda": cuda}
    command = [hide_credentials(word) for word in sys.argv]
    return {**system, "packages": packages, "hardware": hardware, "command": command, "git_commit": git_commit()}


def hardware(threads: int | None = None) -> str:
    """What times and memory depend on, in a line: the GPU's name, or the CPU's with the number of threads.

    Args:
        threads: Of a process that is still to start; those of this one if not given.
    """
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return processor(threads)


def processor(threads: int | None = None) -> str:
    """The CPU's name with the number of threads, as in `hardware`, also where there is a GPU."""
    import torch

    return f"{cpu_name() or 'CPU'}, {threads or torch.get_num_threads()} threads"


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
