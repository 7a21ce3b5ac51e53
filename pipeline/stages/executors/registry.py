"""Finds the executors by their file names. Listing them imports none."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pipeline.discovery import list_modules
from pipeline.errors import ConfigError, unknown

if TYPE_CHECKING:
    from pipeline.config import TuneConfig
    from pipeline.stages.children import Children
    from pipeline.stages.executors.base import Executor
    from pipeline.stages.search_plan import SearchPlan

_PACKAGE = "pipeline.stages.executors"
_MACHINERY = frozenset({"base", "registry"})


def list_executors() -> list[str]:
    """Names of all executors, sorted."""
    return list_modules(_PACKAGE, _MACHINERY)


def check_executor(config: TuneConfig) -> None:
    """Hold `--executor` against the files, and the options against what it says of them.

    Raises:
        ConfigError: There is none of that name, or it cannot work with these options.
    """
    name = config.executor
    if name not in list_executors():
        raise ConfigError("--executor: " + unknown("executor", name, list_executors()))
    check = getattr(importlib.import_module(f"{_PACKAGE}.{name}"), "check", None)
    if check is not None:
        check(config)


def create_executor(plan: SearchPlan, precision: str, children: Children) -> Executor:
    """The executor of `--executor`, ready to take trials.

    Raises:
        ConfigError: It cannot work here, or not for this search.
    """
    module = importlib.import_module(f"{_PACKAGE}.{plan.config.executor}")
    executor: Executor = module.create(plan, precision, children)
    return executor
