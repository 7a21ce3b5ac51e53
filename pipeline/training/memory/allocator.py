"""What glibc does with memory that was freed: gives it back to the system, or keeps it for the next block.

By default it does either by turns: blocks of up to 32 MB are kept, and what is free at the end of the heap goes back once
it is 64 MB. A layer's activations are a few such blocks, so each batch asks the system anew for pages, zeroed first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_MOST_KEPT = 2**30
_MOST_OF_OLDER = 2**25  # an older glibc refuses a higher first threshold
_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


class _Setting:
    """Whether this process gives back what is freed, for good."""

    gives_back = False


def keep_what_is_freed() -> None:
    """Have glibc keep up to a GB, unless the environment or `give_back_what_is_freed` said otherwise."""
    if not _Setting.gives_back and not any(os.environ.get(name) for name in _OF_THE_USER):
        _set(_MOST_KEPT)


def give_back_what_is_freed() -> None:
    """Have glibc give blocks of a MB and more back to the system when they are freed, as long as this process lives.

    Kept, they count against a limit of the process, and what is mapped and not allocated, such as code that oneDNN makes for
    a shape, finds no room after a batch that did not fit.
    """
    _Setting.gives_back = True
    _set(2**20)


def _set(threshold: int) -> None:
    """Give back at this many bytes: blocks of their own, and what is free at the heap's end.

    The second alone would be worse than nothing: after any setting glibc no longer raises the first by itself.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another system, or another C library
        mallopt = ctypes.CDLL(None).mallopt
        if mallopt(_M_MMAP_THRESHOLD, threshold) or mallopt(_M_MMAP_THRESHOLD, min(threshold, _MOST_OF_OLDER)):
            mallopt(_M_TRIM_THRESHOLD, threshold)
