"""Imported last by the process from which runs are forked: what it holds is no garbage, and need not be searched for any.

Without this each run's first full collection touches, and so copies, every page that it shares with that process
(https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import gc

gc.collect()
gc.freeze()
