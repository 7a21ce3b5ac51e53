"""What a command has found out about files: the processes that it starts take it over, and need not find it out again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_known: dict[Hashable, Any] = {}


def once(key: Hashable, find: Callable[[], T]) -> T:
    """What `find` returns, or returned when the key was first used in this command.

    Args:
        key: Says all that decides it, such as a hash of the files. It and what is found can be sent to other processes.
    """
    if key not in _known:
        _known[key] = find()
    found: T = _known[key]
    return found


def share() -> dict[Hashable, Any]:
    """All of it, for a process that is started."""
    return dict(_known)


def take_over(known: Mapping[Hashable, Any]) -> None:
    """Know what the process knows that started this one."""
    _known.update(known)
