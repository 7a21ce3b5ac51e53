"""Freeze the garbage collector before runs are forked; imported last by the process to fork from.

Without this, each run's first full collection touches, and so copies, every page that it shares with that process
(https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import gc

gc.collect()
gc.freeze()
