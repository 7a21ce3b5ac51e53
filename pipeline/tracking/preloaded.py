"""Imported by the process from which runs are forked: what MLflow would do anew in each of them is done once."""

import contextlib
from functools import cache

import alembic.command  # noqa: F401  # which a tracking server does without, as what follows
import mlflow.pyfunc
import mlflow.store.tracking.sqlalchemy_workspace_store  # noqa: F401
import sqlalchemy.dialects.sqlite
import sqlalchemy.orm
from mlflow.store.db import utils as db_utils
from mlflow.utils import requirements_utils

from pipeline.tracking.servable import INFERRED, OF_ALL, OF_ENCODERS, modules_of_every_model, pin

# Saving a model reads which package every installed module belongs to, 0.7 s, and has no public name for doing so earlier.
with contextlib.suppress(AttributeError):
    requirements_utils._init_modules_to_packages_map()

# Opening a store executes all of MLflow's migration scripts to learn which is the newest.
with contextlib.suppress(AttributeError):
    db_utils._get_latest_schema_revision = cache(db_utils._get_latest_schema_revision)
    db_utils._get_latest_schema_revision()

sqlalchemy.orm.configure_mappers()
modules_of_every_model((INFERRED,))
for _package in (*OF_ALL, *OF_ENCODERS):
    pin(_package)
