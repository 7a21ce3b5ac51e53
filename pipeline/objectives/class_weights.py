"""How much an example counts by its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.imbalance import BALANCED, NO_WEIGHTS, read_weights
from pipeline.data.columns import Problem
from pipeline.errors import ConfigError, enumerate_some


def check_weights(text: str, problem: Problem) -> None:
    """Refuse weights of classes that there are not.

    Raises:
        ConfigError: A class is not one of the data's, or labels are no classes.
    """
    if text == NO_WEIGHTS:
        return
    classes = problem.classes
    if problem.multi:
        raise ConfigError(
            f"--class-weights {text}: weighs texts by their one class, and here a text has any number of labels. Leave it out; "
            "a rare label has a threshold of its own, chosen on validation data."
        )
    if not classes:
        raise ConfigError(f"--class-weights {text}: the labels are scores and no classes. Leave --class-weights out.")
    strange = [] if text == BALANCED else [name for name in read_weights(text) if name not in classes]
    if strange:
        raise ConfigError(
            f"--class-weights {text}: {enumerate_some(strange)} is not among the classes {enumerate_some(classes)}. Name these."
        )


def class_weights(text: str, classes: Sequence[str], labels: NDArray[Any]) -> NDArray[np.float64] | None:
    """The weight of an example of each class, shape [classes], with mean 1 over the training examples; None where all are 1.

    `balanced` is as in scikit-learn: examples / (classes that occur * examples of the class).

    Args:
        text: As `--class-weights` has it.
        labels: Index of the class of each training example; shape [examples].
    """
    if text == NO_WEIGHTS:
        return None
    counts = np.bincount(labels.astype(np.int64), minlength=len(classes))
    if text == BALANCED:
        weights = 1 / np.maximum(counts, 1)
    else:
        named = read_weights(text)
        weights = np.array([named.get(name, 1.0) for name in classes])
    scaled: NDArray[np.float64] = weights * counts.sum() / (weights @ counts)
    return scaled


def weigh_examples(text: str, classes: Sequence[str], labels: NDArray[Any]) -> NDArray[np.float32] | None:
    """The weight of each training example, shape [examples]; None where all are 1."""
    weights = class_weights(text, classes, labels)
    return None if weights is None else weights.astype(np.float32)[labels.astype(np.int64)]
