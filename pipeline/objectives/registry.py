"""Finds the objectives by their file names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from pipeline.data.problem import Problem
from pipeline.errors import ConfigError, unknown
from pipeline.objectives.base import Objective

_PACKAGE = "pipeline.objectives"
_MACHINERY = frozenset({"base", "registry"})


def list_objectives() -> list[str]:
    """Names of all objectives, sorted."""
    path = importlib.import_module(_PACKAGE).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if module.name not in _MACHINERY)


def check_objective(name: str) -> None:
    """Refuse a name that is no objective's.

    Raises:
        ConfigError: There is no objective of that name.
    """
    if name not in list_objectives():
        raise ConfigError("--objective: " + unknown("objective", name, list_objectives()))


def create_objective(name: str, problem: Problem, pooling: str) -> Objective:
    """The objective of that name for a problem.

    Raises:
        ConfigError: There is no objective of that name, or it cannot be trained for the problem.
        TypeError: The module does not define exactly one objective; a mistake of whoever wrote it.
    """
    check_objective(name)
    module = importlib.import_module(f"{_PACKAGE}.{name}")
    own = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Objective) and cls.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} must define exactly one Objective, not {len(own)}.")
    return own[0].of(problem, pooling)
