"""Scores of short and of long texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.evaluation.metrics import score_predictions

_PARTS = 4


def score_by_length(texts: Sequence[str], gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> pd.DataFrame:
    """Scores of each quarter of the texts by number of words (runs of characters without a space).

    Texts of equal length are never in different quarters, so of many equal ones there are fewer and unequal parts.

    Returns:
        Columns `min_words`, `max_words`, `texts`, then the scores, as of `score_predictions`.
    """
    words = np.array([len(text.split()) for text in texts], np.int64)
    edges = np.unique(np.quantile(words, np.arange(1, _PARTS) / _PARTS, method="lower")) if len(words) else words
    part = np.searchsorted(edges, words, side="left")
    rows = []
    for number in np.unique(part):
        chosen = part == number
        rows.append(
            {
                "min_words": int(words[chosen].min()),
                "max_words": int(words[chosen].max()),
                "texts": int(chosen.sum()),
                **score_predictions(gold[chosen], predicted[chosen], classes),
            }
        )
    return pd.DataFrame(rows)
