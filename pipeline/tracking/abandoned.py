"""Which process writes a run, so that a run whose process was killed does not count as running for ever.

Only whoever comes next can write down that a process was killed. On Linux alone, and for processes of the same machine: of
others nothing is known.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from functools import cache
from pathlib import Path


def describe_process() -> str:
    """This process as it stands on the runs that it writes: machine, boot, namespace of process ids, id, start; or empty."""
    return _describe(os.getpid()) or ""


def is_gone(process: str) -> bool:
    """Whether a process that was described so is known to have ended."""
    if not process or not (here := describe_process()):
        return False
    machine, boot, namespace, pid, _ = process.split("/") if process.count("/") == 4 else ("", "", "", "", "")
    ours = here.split("/")
    if machine != ours[0]:
        return False
    return boot != ours[1] or (namespace == ours[2] and pid.isdigit() and _describe(int(pid)) != process)


def _describe(pid: int) -> str | None:
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return None
    return None if state in "ZX" else f"{_machine()}/{_boot()}/{namespace}/{pid}/{fields[18]}"


@cache
def _machine() -> str:
    """A name for this machine from which nobody reads which one it is; containers have names of their own."""
    try:
        known = Path("/etc/machine-id").read_text()
    except OSError:
        known = ""
    return hashlib.sha256(f"{socket.gethostname()} {known} {uuid.getnode()}".encode()).hexdigest()[:16]


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
