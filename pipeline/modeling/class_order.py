"""Which output of a checkpoint's own classifier stands for which class of the data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError, enumerate_some

_OPTION = "--model-labels"


@dataclass(frozen=True)
class Outputs:
    """What becomes of the outputs that a checkpoint's classifier has."""

    rows: tuple[int, ...] | None
    """For each class of the data the output that stands for it; None where a new classifier is drawn."""
    note: str = ""
    """What a user should know of it, as a sentence; empty where there is nothing to say."""


NEW = Outputs(None)
"""The checkpoint has no classifier."""


def check_model_labels(labels: Sequence[str], classes: Sequence[str]) -> None:
    """Hold that `--model-labels` names every class of the data once.

    Raises:
        ConfigError: It does not.
    """
    if labels and sorted(labels) != sorted(classes):
        raise ConfigError(
            f"{_OPTION} {enumerate_some(list(labels))}: the data has the classes {enumerate_some(list(classes)) or 'none'}. "
            "Name each of them once, in the order of the model's outputs."
        )


def order_outputs(
    name: str, config: Mapping[str, Any], outputs: int | None, classes: Sequence[str], labels: Sequence[str]
) -> Outputs:
    """Match the outputs of a checkpoint's classifier with the classes of the data, by name where nothing else is said.

    Args:
        name: What the user called the model; stands in notes.
        config: Content of its `config.json`.
        outputs: How many its classifier has; None where it has none.
        classes: Of the data, in their order.
        labels: The same ones in the order of the outputs, as `--model-labels` has them; empty if not given.

    Raises:
        ConfigError: `--model-labels` names other classes, or outputs that are not there.
    """
    check_model_labels(labels, classes)
    begin = f"--model {name}:"
    if labels and outputs != len(classes):
        has = f"a classifier with {outputs} outputs" if outputs else "no trained classifier"
        raise ConfigError(f"{_OPTION} {enumerate_some(list(labels))}: {name} has {has}. Leave {_OPTION} out.")
    if outputs is None:
        return NEW
    if labels:
        return Outputs(tuple(labels.index(each) for each in classes))
    own = read_class_names(config, outputs)
    if outputs != len(classes):
        return Outputs(
            None, f"{begin} its classifier has {outputs} outputs and the data {len(classes)} classes, so a new one is drawn."
        )
    given = enumerate_some(list(classes), 10)
    if rows := _match(own, classes) if own else None:
        if rows == tuple(range(outputs)):
            return Outputs(rows)
        named = enumerate_some([own[row] for row in range(outputs)], 10)
        return Outputs(rows, f"{begin} its classifier's outputs stand for {named}; they are put in the data's order, {given}.")
    if not own or _are_numbers(own):
        return Outputs(
            tuple(range(outputs)),
            f"{begin} does not name its classifier's outputs; they are taken for {given}, in this order. If it is another, "
            f"give {_OPTION}, the data's classes in the order of the outputs.",
        )
    return Outputs(
        None,
        f"{begin} its classifier knows the classes {enumerate_some(own, 10)}, but the data has {given}, so a new one is drawn. "
        f"To keep it, give {_OPTION}, the data's classes in the order of those.",
    )


def read_class_names(config: Mapping[str, Any], outputs: int) -> list[str]:
    """The names of a classifier's outputs in `config.json`, in their order; none where it does not name each of them."""
    by_index: dict[int, str] = {}
    named, inverse = config.get("id2label"), config.get("label2id")
    try:
        if isinstance(named, Mapping):
            by_index = {int(index): str(label) for index, label in named.items()}
        elif isinstance(inverse, Mapping):
            by_index = {int(index): str(label) for label, index in inverse.items()}
    except (TypeError, ValueError):
        return []
    return [by_index[index] for index in range(outputs)] if sorted(by_index) == list(range(outputs)) else []


def _match(own: Sequence[str], classes: Sequence[str]) -> tuple[int, ...] | None:
    """For each class the output of its name: as it is written, or in other letters or signs, or `LABEL_3` for 3."""
    for rule in _RULES:
        by_name = {rule(label): index for index, label in enumerate(own)}
        wanted = [rule(label) for label in classes]
        if len(by_name) == len(own) and len(set(wanted)) == len(wanted) and by_name.keys() == set(wanted):
            return tuple(by_name[label] for label in wanted)
    return None


def _as_written(label: str) -> str:
    return label.strip()


def _in_small_letters(label: str) -> str:
    return unicodedata.normalize("NFKC", label).casefold().strip()


def _words(label: str) -> str:
    return " ".join(re.findall(r"(?<!\w)-(?=\d)|[^\W_]+", _in_small_letters(label)))  # -1 is not 1


def _without_label(label: str) -> str:
    return _words(label).removeprefix("label ")


_RULES: tuple[Callable[[str], str], ...] = (_as_written, _in_small_letters, _words, _without_label)


def _are_numbers(own: Sequence[str]) -> bool:
    """Whether the names say nothing but their places, as `LABEL_0`, which transformers writes where nobody gave names."""
    return [_without_label(label) for label in own] == [str(index) for index in range(len(own))]
