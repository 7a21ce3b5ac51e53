"""Finds the strategies by their file names. Listing them imports none, nor the options, for `--help` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.discovery import list_modules, only_class
from pipeline.errors import ConfigError, unknown

if TYPE_CHECKING:
    from pipeline.strategies.base import Strategy

_PACKAGE = "pipeline.strategies"
_MACHINERY = frozenset({"base", "registry", "freezing", "adapters", "advice"})


def list_strategies() -> list[str]:
    """Names of all strategies, sorted."""
    return list_modules(_PACKAGE, _MACHINERY)


def strategy_class(name: str) -> type[Strategy]:
    """The strategy's class.

    Raises:
        ConfigError: There is no strategy of that name.
        TypeError: The module does not define exactly one strategy, or an argument has the name of an option; a mistake of
            whoever wrote it.
    """
    from pipeline.config import TrainConfig
    from pipeline.fields import describe_fields
    from pipeline.strategies.base import Strategy

    if name not in list_strategies():
        raise ConfigError(unknown("strategy", name, list_strategies()))
    cls = only_class(f"{_PACKAGE}.{name}", Strategy)
    shadowed = set(describe_fields(cls)) & set(describe_fields(TrainConfig))
    if shadowed:
        raise TypeError(f"{cls.__module__}: {', '.join(sorted(shadowed))} shadows an option. Rename the field.")
    return cls


def create_strategy(name: str, arguments: Mapping[str, Any]) -> Strategy:
    """The strategy of that name with its arguments typed and checked.

    Raises:
        ConfigError: Unknown strategy or argument, or a value that does not fit; all mistakes together.
    """
    from pipeline.fields import build

    return build(strategy_class(name), arguments, label=lambda key: f"{name}: {key}", kind=f"argument of strategy {name!r}:")


def strategy_arguments(strategy: Strategy) -> dict[str, Any]:
    """Every argument of a strategy with its value, ready for JSON; `create_strategy` takes it back."""
    from pipeline.fields import as_dict

    return {name: list(value) if isinstance(value, tuple) else value for name, value in as_dict(strategy).items()}
