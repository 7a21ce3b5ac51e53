"""How well predicted scores follow the true ones."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32] | NDArray[np.float64]


def correlate(gold: Scores, predicted: Scores) -> dict[str, float]:
    """Pearson's correlation, and Spearman's, which looks at ranks alone (ties get their mean rank).

    Where all true or all predicted scores are the same neither is defined; both are then 0, as of a model that tells nothing.

    Args:
        gold: Shape [examples].
        predicted: Shape [examples].
    """
    from scipy.stats import pearsonr, spearmanr

    gold, predicted = gold.astype(np.float64), predicted.astype(np.float64)
    if len(gold) < 2 or np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(pearsonr(gold, predicted).statistic),
        "spearman": float(spearmanr(gold, predicted).statistic),
    }


def mean_squared_error(gold: Scores, predicted: Scores) -> float:
    """Mean of the squared differences."""
    return float(np.mean((gold.astype(np.float64) - predicted.astype(np.float64)) ** 2))


def choose_threshold(gold: NDArray[np.int64], scores: Scores) -> float:
    """The score from which on to predict class 1, so that most examples are classified rightly.

    Half-way between two neighbouring scores; of several that are equally good the lowest. Never predicting class 1, or
    always, are among the choices.

    Args:
        gold: 0 or 1; shape [examples].
        scores: Shape [examples].
    """
    order = np.argsort(scores, kind="stable")
    ordered, ones = scores[order].astype(np.float64), gold[order]
    # Cut before example i: all before it are called 0, the others 1.
    right = np.concatenate([[0], np.cumsum(1 - ones)]) + np.concatenate([np.cumsum(ones[::-1])[::-1], [0]])
    possible = np.concatenate([[True], np.diff(ordered) > 0, [True]])
    cut = int(np.argmax(np.where(possible, right, -1)))
    if cut == 0:
        return float(ordered[0])
    if cut == len(ordered):
        return float(np.nextafter(np.float32(ordered[-1]), np.float32(np.inf)))
    return float((ordered[cut - 1] + ordered[cut]) / 2)
