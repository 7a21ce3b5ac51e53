"""Options that say what errors count for how much: the loss, weights of classes, and where the decision between two falls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from pipeline.config.fields import Expects, NonNegative, OfEncoder, Probability, config_class
from pipeline.config.stage import Training

NO_WEIGHTS, BALANCED = "none", "balanced"
ARGMAX, BEST_F1 = "argmax", "f1"


def _write_weights(value: object) -> object:
    """As typed, of what YAML may hold."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{weight}" for name, weight in value.items())
    return NO_WEIGHTS if value is None else value


def read_weights(text: str) -> dict[str, float]:
    """Class -> weight of `a:2,b:1`.

    Raises:
        ValueError: That is not what it is, a class stands twice, or a weight is not above 0.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = (piece.strip() for piece in part.rpartition(":"))
        weight = float(number)
        if not colon or not name or name in weights or not 0 < weight < math.inf:
            raise ValueError(f"{part!r} is no class with a weight above 0")
        weights[name] = weight
    return weights


def _settle_weights(text: str) -> str:
    """One spelling for each, so that equal weights are one configuration."""
    text = text.strip()
    if text in (NO_WEIGHTS, BALANCED):
        return text
    return ",".join(f"{name}:{weight:g}" for name, weight in sorted(read_weights(text).items()))


def _settle_threshold(text: str) -> str:
    text = text.strip()
    if text in (ARGMAX, BEST_F1):
        return text
    if not 0 < float(text) < 1:
        raise ValueError("must lie between 0 and 1")
    return repr(float(text))


@config_class
class ImbalanceConfig:
    """What errors count for how much."""

    loss: Annotated[str | None, OfEncoder(), Training(15)] = None
    """What training makes small: cross_entropy or focal, of classes; if not given cross_entropy, and of scores and of cosines
    mean_squared_error."""
    focal_gamma: Annotated[NonNegative, OfEncoder(), Training(16)] = 2.0
    """With --loss focal: how much less an example counts whose class is predicted surely; 0 is cross_entropy."""
    class_weights: Annotated[
        str,
        BeforeValidator(_write_weights),
        AfterValidator(_settle_weights),
        Expects("none, balanced, or classes with weights above 0, such as a:2,b:1"),
        Training(17),
    ] = NO_WEIGHTS
    """How much an example counts in the loss. balanced: each class as much as any other; a:2,b:1: by class, 1 where none is
    given. Scaled so that the mean over the training examples is 1."""
    label_smoothing: Annotated[Probability, OfEncoder(), Training(18)] = 0.0
    """Share of the target that is spread evenly over all classes, with a loss of classes."""
    decision_threshold: Annotated[
        str,
        BeforeValidator(str),
        AfterValidator(_settle_threshold),
        Expects("argmax, f1, or a probability between 0 and 1"),
        Training(19),
    ] = ARGMAX
    """Of two classes: from which probability on the second is predicted. argmax: one half; f1: where macro F1 is highest on
    validation data, once the checkpoint is chosen; or a number."""
