"""Finds the executors by their file names. Listing them imports none."""

import importlib
import pkgutil

from pipeline import config as configs
from pipeline.errors import ConfigError, unknown
from pipeline.stages.children import Children
from pipeline.stages.executors.base import Executor

_PACKAGE = "pipeline.stages.executors"
_MACHINERY = frozenset({"base", "registry"})


def list_executors() -> list[str]:
    """Names of all executors, sorted."""
    path = importlib.import_module(_PACKAGE).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if module.name not in _MACHINERY)


def create_executor(config: configs.TuneConfig, children: Children) -> Executor:
    """The executor of `--executor`, ready to take trials.

    Raises:
        ConfigError: There is none of that name, or it cannot work here.
    """
    if config.executor not in list_executors():
        raise ConfigError("--executor: " + unknown("executor", config.executor, list_executors()))
    module = importlib.import_module(f"{_PACKAGE}.{config.executor}")
    executor: Executor = module.create(config, children)
    return executor
