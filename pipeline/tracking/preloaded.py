"""Imported by the process from which runs are forked: what MLflow would do anew in each of them is done once."""

import contextlib

import mlflow.pyfunc
import mlflow.store.tracking.sqlalchemy_store  # a second of imports, which a tracking server does without  # noqa: F401
from mlflow.utils import requirements_utils

from pipeline.tracking.servable import INFERRED, modules_of_every_model

# Saving a model reads which package every installed module belongs to, 0.7 s, and has no public name for doing so earlier.
with contextlib.suppress(AttributeError):
    requirements_utils._init_modules_to_packages_map()

modules_of_every_model((INFERRED,))
