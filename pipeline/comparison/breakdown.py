"""Where each row of the results table is right, and whether it is as often right as it says: by class, length, confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.recorded import RecordedPredictions
from pipeline.evaluation.calibration import calibration_error, reliability
from pipeline.evaluation.lengths import score_by_length

_BY_CLASS = ["row", "class", "texts", "f1"]
_BY_LENGTH = ["row", "min_words", "max_words", "texts", "f1_macro"]
_RELIABILITY = ["row", "low", "high", "texts", "confidence", "accuracy"]
_CERTAINTY = ["row", "accuracy", "confidence", "ece"]


@dataclass(frozen=True)
class Breakdown:
    """Tables with a line per row of the results table and class, quarter or bin; rows without predictions have none."""

    by_class: pd.DataFrame
    """`row`, `class`, `texts`, `f1`, the mean over seeds."""
    by_length: pd.DataFrame
    """`row`, `min_words`, `max_words`, `texts`, `f1_macro`, the mean over seeds; parts are those of `score_by_length`."""
    reliability: pd.DataFrame
    """`row`, `low`, `high`, `texts`, `confidence`, `accuracy`, over the answers of all seeds."""
    certainty: pd.DataFrame
    """`row`, `accuracy`, `confidence`, `ece`, means over seeds; rows that give no probabilities have none."""


def break_down(recorded: RecordedPredictions, rows: Mapping[str, Sequence[str]]) -> Breakdown:
    """Scores of parts of the test, from the saved predictions.

    Args:
        rows: Name of each row of the results table -> ids of its runs.
    """
    present = {name: [run_id for run_id in ids if run_id in recorded.predicted] for name, ids in rows.items()}
    present = {name: ids for name, ids in present.items() if ids}
    parts = _length_parts(recorded) if present else []
    by_class, by_length, bins, certainty = [], [], [], []
    for name, ids in present.items():
        predicted = [recorded.predicted[run_id] for run_id in ids]
        scores = np.mean([_f1_by_class(recorded.gold, mine, len(recorded.classes)) for mine in predicted], axis=0)
        support = np.bincount(recorded.gold, minlength=len(recorded.classes))
        by_class += list(zip([name] * len(scores), recorded.classes, support.tolist(), scores.tolist(), strict=True))
        for low, high, chosen in parts:
            gold = recorded.gold[chosen]
            f1 = np.mean([_f1_by_class(gold, mine[chosen], len(recorded.classes)).mean() for mine in predicted])
            by_length.append((name, low, high, len(gold), float(f1)))
        right = [mine == recorded.gold for mine in predicted]
        confidence = [recorded.confidence[run_id] for run_id in ids]
        if not np.isnan(confidence).any():
            table = reliability(np.concatenate(right), np.concatenate(confidence))
            bins.append(table.assign(row=name)[_RELIABILITY])
            errors = [calibration_error(reliability(*one)) for one in zip(right, confidence, strict=True)]
            certainty.append((name, float(np.mean(right)), float(np.mean(confidence)), float(np.mean(errors))))
    return Breakdown(
        pd.DataFrame(by_class, columns=_BY_CLASS),
        pd.DataFrame(by_length, columns=_BY_LENGTH),
        pd.concat(bins, ignore_index=True) if bins else pd.DataFrame(columns=_RELIABILITY),
        pd.DataFrame(certainty, columns=_CERTAINTY),
    )


def _length_parts(recorded: RecordedPredictions) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """Fewest and most words of each part, and which texts are in it; of pairs the words of both count."""
    texts = [text if isinstance(text, str) else " ".join(text) for text in recorded.texts]
    words = np.array([len(text.split()) for text in texts])
    parts = score_by_length(texts, recorded.gold, recorded.gold, len(recorded.classes))
    bounds = parts[["min_words", "max_words"]].itertuples(index=False)
    return [(low, high, (words >= low) & (words <= high)) for low, high in bounds]


def _f1_by_class(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """As scikit-learn's `f1_score`, in a hundredth of its time; 0 of a class that is neither true nor predicted."""
    right = np.bincount(gold[gold == predicted], minlength=classes)
    said, true = (np.bincount(labels, minlength=classes) for labels in (predicted, gold))
    found: NDArray[np.float64] = 2 * right / np.maximum(1, said + true)
    return found
