"""Plug-ins: a file each, or one of several, in a folder of their kind, found by name. No list of them stands anywhere."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
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
    decorator: str = ""
    """What stands above the class of each plug-in, where a file may hold several."""

    def names(self) -> list[str]:
        """Names of all, sorted. Imports none of them, so that `--help` stays quick.

        A plug-in is called as its file; of several in one file each is called as its class, `LoraPlus` as `lora_plus`.

        Raises:
            PluginError: Two files hold plug-ins of one name; a mistake of whoever wrote them.
        """
        names = [name for names in self._by_file().values() for name in names]
        if twice := sorted(name for name in set(names) if names.count(name) > 1):
            raise PluginError(f"{self.package}: there are two of {self.kind} {twice[0]}. Rename one.")
        return sorted(names)

    def _by_file(self) -> dict[str, list[str]]:
        """Name of each file -> names of its plug-ins, as its text says."""
        folders = list(importlib.import_module(self.package).__path__)
        files: dict[str, list[str]] = {}
        for found in pkgutil.iter_modules(folders):
            path = Path(getattr(found.module_finder, "path", folders[0])) / f"{found.name}.py"
            classes = _classes_below(self.decorator, path) if self.decorator else []
            files[found.name] = [_called(name) for name in classes] if len(classes) > 1 else [found.name]
        return files

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
        files = self._by_file() if self.decorator else {}
        return f"{self.package}.{next((file for file, names in files.items() if name in names), name)}"

    def modules(self) -> list[str]:
        """Where all of them are."""
        return list(dict.fromkeys(self.module_name(name) for name in self.names()))

    def name_of(self, cls: type, base: type) -> str:
        """The name of the plug-in that a class is, a subclass of `base`."""
        several = len(_own(base, cls.__module__)) > 1
        return _called(cls.__name__) if several else cls.__module__.rpartition(".")[2]

    def load(self, name: str) -> ModuleType:
        """The module of a plug-in that is there."""
        return importlib.import_module(self.module_name(name))

    def only_class(self, name: str, base: type[T]) -> type[T]:
        """The one subclass of `base` that the module defines; of several the one of that name.

        Raises:
            PluginError: There is none, or several; a mistake of whoever wrote it.
        """
        module = self.load(name)
        own = _own(base, module.__name__)
        if self.decorator and len(own) > 1:
            own = [cls for cls in own if _called(cls.__name__) == name] or own
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


def _own(base: type[T], module: str) -> list[type[T]]:
    """Subclasses of `base` that a module defines to be found, which those with an underscore are not."""
    classes = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    return [cls for name, cls in classes if issubclass(cls, base) and cls.__module__ == module and not name.startswith("_")]


def _classes_below(decorator: str, path: Path) -> list[str]:
    """Classes at the top of a file that a decorator stands above; none with an underscore."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return re.findall(rf"^@{decorator}\nclass ([^_]\w*)", text, re.MULTILINE)


def _called(cls: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls).lower()


SOURCES = Registry("source", "pipeline.data.sources")
STRATEGIES = Registry("strategy", "pipeline.strategies.methods", decorator="config_class")
FAMILIES = Registry("family", "pipeline.modeling.families")
HEADS = Registry("head", "pipeline.modeling.heads")
OBJECTIVES = Registry("objective", "pipeline.objectives.kinds", {"siamese": "bi_encoder"})
LOSSES = Registry("loss", "pipeline.objectives.losses")
ACCELERATIONS = Registry("acceleration", "pipeline.training.acceleration.patches")
METRICS = Registry("metric", "pipeline.evaluation.metrics")
EXECUTORS = Registry("executor", "pipeline.stages.executors")
EXPORT_FORMATS = Registry("format", "pipeline.stages.exporting.formats")
