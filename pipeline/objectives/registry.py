"""Finds the objectives by their file names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from pipeline.data.problem import Problem
from pipeline.discovery import list_modules, only_class
from pipeline.errors import ConfigError, unknown
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.objectives.base import Objective

_PACKAGE = "pipeline.objectives"
_MACHINERY = frozenset({"base", "registry"})


def list_objectives() -> list[str]:
    """Names of all objectives, sorted."""
    return list_modules(_PACKAGE, _MACHINERY)


def check_objective(name: str, head: str = FAMILY_HEAD) -> None:
    """Refuse a name that is no objective's, and a head where the objective brings its own.

    Raises:
        ConfigError: There is no objective of that name, or it takes no head of another name.
    """
    _objective_class(name, head)


def takes_pooling(name: str) -> bool:
    """Whether `--pooling` means something to the objective; an unknown one, of another version, takes none."""
    return name in list_objectives() and _objective_class(name, FAMILY_HEAD).takes_pooling


def refuse_idle_pooling(given: Collection[str], names: Collection[str]) -> None:
    """Refuse a `--pooling` that was typed where no objective takes it.

    Args:
        given: Names of the options that were typed.
        names: The objectives that will be trained for.

    Raises:
        ConfigError: It would say nothing.
    """
    if "pooling" in given and not any(map(takes_pooling, names)):
        raise ConfigError(
            f"--pooling: --objective {', '.join(sorted(set(names)))} makes no vector of each text. Leave --pooling out, or "
            "choose --objective siamese; what a classifier reads of a text is its --head."
        )


def refuse_idle_model_labels(given: Collection[str], trained: Collection[tuple[str, str]]) -> None:
    """Refuse `--model-labels` that were typed where every classifier is a new one.

    Args:
        given: Names of the options that were typed.
        trained: Objective and head of each training.

    Raises:
        ConfigError: They would say nothing.
    """
    if "model_labels" in given and not any(
        head == FAMILY_HEAD and name in list_objectives() and _objective_class(name, head).takes_heads for name, head in trained
    ):
        raise ConfigError(
            "--model-labels: says what the outputs of the model's own classifier stand for, and a new one is trained instead. "
            f"Leave it out, or choose --objective classification with --head {FAMILY_HEAD}."
        )


def create_objective(
    name: str, problem: Problem, pooling: str, head: str = FAMILY_HEAD, model_labels: Sequence[str] = ()
) -> Objective:
    """The objective of that name for a problem.

    Args:
        model_labels: The classes in the order of the outputs of the checkpoint's own classifier; matched by name if empty.

    Raises:
        ConfigError: There is no objective of that name, or it cannot be trained for the problem or with the head.
        TypeError: The module does not define exactly one objective; a mistake of whoever wrote it.
    """
    return replace(_objective_class(name, head).of(problem, pooling, head), model_labels=tuple(model_labels))


def _objective_class(name: str, head: str) -> type[Objective]:
    if name not in list_objectives():
        raise ConfigError("--objective: " + unknown("objective", name, list_objectives()))
    found = only_class(f"{_PACKAGE}.{name}", Objective)
    if head != FAMILY_HEAD and not found.takes_heads:
        raise ConfigError(
            f"--head {head}: --objective {name} puts no head of that kind on the encoder. Leave --head out, or choose "
            "--objective classification."
        )
    return found
