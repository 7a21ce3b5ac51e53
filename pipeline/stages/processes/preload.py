"""Imported by the process from which runs are forked: imports, once, what they use, and does what MLflow would do in each.

None of the modules starts a thread of Python's or touches a device. The garbage collector rests meanwhile and is frozen at the
end: else each run's first full collection touches, and so copies, every page that it shares with that process
(https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import contextlib
import gc
import importlib

from pipeline.registry import FAMILIES, SOURCES, STRATEGIES

MODULES = (
    "torch",
    "accelerate",
    "peft",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.optimization",
    "sklearn.metrics",  # these three are what tests, too, draw and measure with
    "scipy.stats",
    "matplotlib.backends.backend_agg",
    "pipeline.stages.train",
    *STRATEGIES.modules(),  # so that all are of the moment when a study begins
    *FAMILIES.modules(),
    *SOURCES.modules(),
    "pipeline.stages.evaluate",
    "pipeline.stages.search.trial",
    "pipeline.stages.study.tasks",
    "pipeline.stages.executors.local",
    "pipeline.tracking.mlflow_runs",
    "pipeline.tracking.preloaded",
)

gc.disable()
for _name in MODULES:
    with contextlib.suppress(ImportError):  # whoever needs it says that it is missing
        importlib.import_module(_name)
gc.enable()
gc.collect()
gc.freeze()
