"""Finds the heads by their file names. Listing them imports none."""

from pipeline.discovery import list_modules, only_class
from pipeline.errors import ConfigError, unknown
from pipeline.modeling.encoder import Encoder
from pipeline.modeling.heads.base import Head

_PACKAGE = "pipeline.modeling.heads"
_MACHINERY = frozenset({"base", "pooling", "registry"})


def list_heads() -> list[str]:
    """Names of all heads, sorted."""
    return list_modules(_PACKAGE, _MACHINERY)


def check_head(name: str, label: str = "--head") -> None:
    """Make sure that there is a head of that name; imports none.

    Args:
        label: The option, as the message shall name it.

    Raises:
        ConfigError: There is none.
    """
    if name not in list_heads():
        raise ConfigError(f"{label}: {unknown('head', name, list_heads())}")


def head_class(name: str) -> type[Head]:
    """The head's class.

    Raises:
        ConfigError: There is no head of that name.
        TypeError: The module does not define exactly one head; a mistake of whoever wrote it.
    """
    check_head(name)
    return only_class(f"{_PACKAGE}.{name}", Head)


def with_head(encoder: Encoder, name: str) -> Encoder:
    """The encoder as it is with the head of that name, given the one with its family's own.

    Raises:
        ConfigError: There is no head of that name.
    """
    return head_class(name).describe(encoder)
