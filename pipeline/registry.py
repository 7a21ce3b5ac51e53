"""Plug-ins: a file each, in a folder of their kind, found by its name. No list of them stands anywhere."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TypeVar

from pipeline.errors import ConfigError, PluginError, unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Registry:
    """The plug-ins of one kind: every module of a package; what one is, a module beside it says."""

    kind: str
    """Such as `strategy`, for messages."""
    package: str
    """Such as `pipeline.strategies.methods`."""
    former: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Former names -> today's; who reads a name from outside asks `current`."""

    def names(self) -> list[str]:
        """Names of all, sorted. Imports none of them, so that `--help` stays quick."""
        path = importlib.import_module(self.package).__path__
        return sorted(module.name for module in pkgutil.iter_modules(path))

    def current(self, name: str) -> str:
        """Today's name of a plug-in; whatever is not a former one stays as it is."""
        return self.former.get(name, name)

    def check(self, name: str, option: str = "") -> None:
        """Make sure that there is one of that name; imports none.

        Args:
            option: As it is typed, for the message.

        Raises:
            ConfigError: There is none.
        """
        if name not in self.names():
            raise ConfigError((f"{option}: " if option else "") + unknown(self.kind, name, self.names()))

    def module_name(self, name: str) -> str:
        """Where that plug-in is, whether there is one or not."""
        return f"{self.package}.{name}"

    def modules(self) -> list[str]:
        """Where all of them are."""
        return [self.module_name(name) for name in self.names()]

    def load(self, name: str) -> ModuleType:
        """The module of a plug-in that is there."""
        return importlib.import_module(self.module_name(name))

    def only_class(self, name: str, base: type[T]) -> type[T]:
        """The one subclass of `base` that the module defines.

        Raises:
            PluginError: There is none, or several; a mistake of whoever wrote it.
        """
        module = self.load(name)
        own = [
            cls
            for _, cls in inspect.getmembers(module, inspect.isclass)
            if issubclass(cls, base) and cls.__module__ == module.__name__
        ]
        if len(own) != 1:
            raise PluginError(f"{module.__name__} must define exactly one {self.kind}, not {len(own)}.")
        return own[0]

    def instances(self, base: type[T]) -> list[T]:
        """All instances of `base` that the modules define at their top, in the order of the modules' names and of their lines.

        Raises:
            PluginError: A module defines none; a mistake of whoever wrote it.
        """
        instances: list[T] = []
        for name in self.names():
            own = [value for value in vars(self.load(name)).values() if isinstance(value, base)]
            if not own:
                raise PluginError(f"{self.module_name(name)} must define a {base.__name__}.")
            # One may be imported from the module that defines it.
            instances += (value for value in own if value not in instances)
        return instances


SOURCES = Registry("source", "pipeline.data.sources")
STRATEGIES = Registry("strategy", "pipeline.strategies.methods")
FAMILIES = Registry("family", "pipeline.modeling.families")
HEADS = Registry("head", "pipeline.modeling.heads")
OBJECTIVES = Registry("objective", "pipeline.objectives.kinds", {"siamese": "bi_encoder"})
LOSSES = Registry("loss", "pipeline.objectives.losses")
ACCELERATIONS = Registry("acceleration", "pipeline.training.acceleration.patches")
METRICS = Registry("metric", "pipeline.evaluation.metrics")
EXECUTORS = Registry("executor", "pipeline.stages.executors")
EXPORT_FORMATS = Registry("format", "pipeline.stages.exporting.formats")
