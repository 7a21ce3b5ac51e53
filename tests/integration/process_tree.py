"""Which processes run below another, read from /proc."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def parents() -> dict[int, tuple[int, bytes]]:
    """Process id -> that of its parent, and the command line; of those that have not ended."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(entry.name)] = int(parent), (entry / "cmdline").read_bytes()
    return found


def descendants(pid: int) -> list[int]:
    """Process ids below `pid`, the youngest last."""
    there, found = parents(), [pid]
    for parent in found:
        found += [child for child, (its_parent, _) in there.items() if its_parent == parent]
    return sorted(found[1:])


def are_gone(pids: list[int], seconds: float = 60) -> bool:
    """Whether all of them end within some seconds."""
    deadline = time.monotonic() + seconds
    while parents().keys() & set(pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
