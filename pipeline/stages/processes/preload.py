"""Imported by the process from which runs are forked: imports, once, what they use, and does what would be done in each.

None of it starts a thread of Python's or touches a device. The garbage collector rests meanwhile and the heap is frozen at the
end: else each run's first full collection touches, and so copies, every page that it shares with that process
(https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys

from pipeline.code_version import code_version, installed_version
from pipeline.registry import ACCELERATIONS, FAMILIES, HEADS, LOSSES, OBJECTIVES, SOURCES, STRATEGIES
from pipeline.tracking.provenance import PACKAGES, git_commit

MODULES = (
    "torch",
    "accelerate",
    "peft",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "transformers.optimization",
    "pyarrow.parquet",  # pandas reads prepared data by it
    "sklearn.metrics",  # these are what tests, too, draw and measure with
    "scipy.stats",
    "matplotlib.backends.backend_agg",
    "pipeline.stages.train",
    *STRATEGIES.modules(),  # so that all are of the moment when a study begins
    *FAMILIES.modules(),
    *SOURCES.modules(),
    *HEADS.modules(),
    *OBJECTIVES.modules(),
    *LOSSES.modules(),
    *ACCELERATIONS.modules(),
    "pipeline.stages.evaluate",
    "pipeline.stages.search.trial",
    "pipeline.stages.study.tasks",
    "pipeline.stages.executors.local",
    "pipeline.tracking.mlflow_runs",
    "pipeline.tracking.preloaded",
)

_PARENT = os.getppid()


def _warm_up() -> None:
    """Make what libraries make when they are first used, and keep."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping(FAMILIES.names()[0])  # compiles a thousand patterns of names, for all architectures
    code_version(())  # reads our files, which count as they are now, when they are imported
    git_commit()
    for package in PACKAGES:
        installed_version(package)


def _leave_if_alone() -> None:
    """The command may have ended, say because of a mistake of input or Ctrl-C: nobody waits for us."""
    if os.getppid() != _PARENT:
        sys.exit()


gc.disable()
for _name in MODULES:
    _leave_if_alone()
    with contextlib.suppress(Exception):  # whoever needs it says what is wrong with it
        importlib.import_module(_name)
with contextlib.suppress(Exception):
    _warm_up()
gc.enable()
gc.freeze()
_leave_if_alone()
