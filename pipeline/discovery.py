"""Modules that are found by their file names: a strategy or a head is one file, and stands in no list."""

import importlib
import inspect
import pkgutil
from collections.abc import Collection
from typing import TypeVar

T = TypeVar("T")


def list_modules(package: str, machinery: Collection[str]) -> list[str]:
    """Names of the modules of `package` without the `machinery`, sorted. Imports none of them."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if module.name not in machinery)


def only_class(module_name: str, base: type[T]) -> type[T]:
    """The one subclass of `base` that a module defines.

    Raises:
        TypeError: There is none, or several; a mistake of whoever wrote it.
    """
    module = importlib.import_module(module_name)
    own = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, base) and cls.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} must define exactly one {base.__name__}, not {len(own)}.")
    return own[0]
