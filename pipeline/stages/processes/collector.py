"""When Python's garbage collector works: not while modules are imported, and not when the process ends.

Importing torch, transformers and MLflow makes a million objects, all of which stay. The collector walks over them again and
again, a quarter of the time that the imports take, and over all of them once more before the process ends.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Mapping

_USUAL = gc.get_threshold()
_MANY = 3_000_000
"""Objects that are made, and stay, until the collector works by itself again."""


def pause() -> None:
    """Collect nothing until `resume` is called or very much was made; for good what there is when the process ends."""
    gc.set_threshold(_MANY)
    gc.callbacks.append(_resume_early)
    atexit.register(gc.freeze)  # first in, last out


def resume() -> None:
    """Collect as usual after `pause`, but pass over what there is, which is modules; else do nothing."""
    if _resume_early in gc.callbacks:
        _resume_early()
        gc.freeze()


def _resume_early(_phase: str = "start", _info: Mapping[str, int] | None = None) -> None:
    """Called by the collector when it begins, which it does while paused only where very much was made."""
    gc.callbacks.remove(_resume_early)
    gc.set_threshold(*_USUAL)
