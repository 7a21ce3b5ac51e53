"""Where the decision between two classes falls, chosen on validation data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.imbalance import BEST_F1


def choose_threshold(gold: NDArray[np.int64], scores: NDArray[np.floating[Any]], by: str = "accuracy") -> float:
    """The score from which on to predict class 1, so that most examples are classified rightly, or macro F1 is highest.

    Half-way between two neighbouring scores; of several that are equally good the lowest. Never predicting class 1, or
    always, are among the choices.

    Args:
        gold: 0 or 1; shape [examples].
        scores: Shape [examples].
        by: `accuracy` or `f1`.
    """
    order = np.argsort(scores, kind="stable")
    ordered, ones = scores[order].astype(np.float64), gold[order]
    # Cut before example i: all before it are called 0, the others 1.
    zeros_right = np.concatenate([[0], np.cumsum(1 - ones)])
    ones_right = np.concatenate([np.cumsum(ones[::-1])[::-1], [0]])
    quality = zeros_right + ones_right
    if by == BEST_F1:
        called_zero = np.arange(len(ordered) + 1)
        called_one = len(ordered) - called_zero
        quality = zeros_right / np.maximum(1, called_zero + zeros_right[-1]) + ones_right / np.maximum(
            1, called_one + ones_right[0]
        )
    possible = np.concatenate([[True], np.diff(ordered) > 0, [True]])
    cut = int(np.argmax(np.where(possible, quality, -1)))
    if cut == 0:
        return float(ordered[0])
    if cut == len(ordered):
        return float(np.nextafter(np.float32(ordered[-1]), np.float32(np.inf)))
    return float((ordered[cut - 1] + ordered[cut]) / 2)
