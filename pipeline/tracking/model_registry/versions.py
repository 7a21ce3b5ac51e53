"""What the rest of the code knows of a model registry: versions of a model, and the alias that says which one is served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.errors import ConfigError, shorten

CHAMPION = "champion"
"""The alias of the version that is served: `models:/NAME@champion`."""
_LONGEST = 200
_REFUSED = re.compile("[/:@\x00-\x1f\x7f\ud800-\udfff]")  # MLflow refuses the first two, and reads an alias behind the third


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    """The registered model's."""
    number: int
    run_id: str
    """Of the run that trained it; empty where somebody registered files of no run."""
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    @property
    def address(self) -> str:
        """What `predict --model` and MLflow call it."""
        return f"models:/{self.name}/{self.number}"


class ModelRegistry(Protocol):
    """Registered models by name, their versions, and aliases."""

    def versions(self, name: str) -> list[ModelVersion]:
        """The oldest first; none where there is no such model."""

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """The version that has the alias."""

    def add(self, name: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """A new version that is the model of a run. Of several processes each gets a number of its own, in their order.

        Args:
            tags: On the version from its first moment.

        Raises:
            ConfigError: The registry takes no such name.
        """

    def note(self, version: ModelVersion, tags: Mapping[str, str], description: str | None = None) -> None:
        """Put tags, and if given another description, on a version."""

    def remove(self, version: ModelVersion) -> None:
        """Delete a version."""

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        """Give a version the alias; whichever had it loses it."""


def check_name(name: str) -> None:
    """Hold that a registered model may be called so.

    Raises:
        ConfigError: It may not.
    """
    if not name.strip(". ") or name != name.strip() or _REFUSED.search(name) or {"'", '"'} <= set(name):
        why = "has characters that a registered model's name may not have (/ : @, controls, both kinds of quotes, outer spaces)"
        raise ConfigError(f"--name {shorten(name)!r}: {why if name.strip('. ') else 'is no name'}. Give another.")
    if len(name) > _LONGEST:
        raise ConfigError(f"--name {shorten(name)!r}: has {len(name)} characters, and at most {_LONGEST} are taken.")
