"""Imported by the process from which runs are forked: imports, once, what they use, and does what would be done in each.

It does so in two steps. What planning takes comes first; the rest while the first process that was forked makes the plan.

None of it starts a thread of Python's or touches a device. The garbage collector rests meanwhile and the heap is frozen at the
end: else each run's first full collection touches, and so copies, every page that it shares with that process
(https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from pipeline.code_version import code_version, installed_version
from pipeline.registry import ACCELERATIONS, FAMILIES, HEADS, LOSSES, OBJECTIVES, SOURCES, STRATEGIES
from pipeline.tracking.provenance import PACKAGES, git_commit

OF_PLANS = (
    "torch",
    "accelerate",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "pyarrow.parquet",  # pandas reads prepared data by it
    *STRATEGIES.modules(),  # so that all are of the moment when a study begins
    *FAMILIES.modules(),
    *SOURCES.modules(),
    *HEADS.modules(),
    *OBJECTIVES.modules(),
    *LOSSES.modules(),
    "pipeline.stages.main",
)
OF_RUNS = (
    "pipeline.tracking.mlflow_runs",
    "matplotlib.backends.backend_agg",  # these are what tests, too, draw and measure with
    "sklearn.metrics",
    "scipy.stats",
    "peft",
    "transformers.optimization",
    *ACCELERATIONS.modules(),
    "pipeline.stages.train",
    "pipeline.stages.evaluate",
    "pipeline.stages.search.trial",
    "pipeline.stages.study.tasks",
    "pipeline.stages.executors.local",
    "pipeline.tracking.preloaded",
)

_PARENT, _SERVER = os.getppid(), os.getpid()


def _warm_up() -> None:
    """Make what libraries make when they are first used, and keep."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping(FAMILIES.names()[0])  # compiles a thousand patterns of names, for all architectures
    git_commit()
    for package in PACKAGES:
        installed_version(package)


def _leave_if_alone() -> None:
    """The command may have ended, say because of a mistake of input or Ctrl-C: nobody waits for us."""
    if os.getppid() != _PARENT:
        sys.exit()


def _import(names: Sequence[str]) -> None:
    gc.disable()
    for name in names:
        _leave_if_alone()
        with contextlib.suppress(Exception):  # whoever needs it says what is wrong with it
            importlib.import_module(name)
    gc.enable()
    gc.freeze()


class _Rest:
    """Whether there is something left to import."""

    is_left = True


def import_rest(*_signal: object) -> None:
    """Import what runs take beyond plans; the second time, do nothing."""
    if _Rest.is_left:
        _Rest.is_left = False
        _import(OF_RUNS)
        with contextlib.suppress(Exception):
            _warm_up()
        gc.freeze()
        _leave_if_alone()


def release_server() -> None:
    """Called in a process that was forked: lets the one that it comes from import the rest meanwhile."""
    signal.signal(signal.SIGUSR1, _BEFORE)
    if _Rest.is_left and os.getppid() == _SERVER:
        os.kill(_SERVER, signal.SIGUSR1)


_import(OF_PLANS)
with contextlib.suppress(Exception):
    code_version(())  # reads our files, which count as they are now, when they are imported
_BEFORE = signal.signal(signal.SIGUSR1, import_rest)
_leave_if_alone()
