"""What stands twice: within a split, across splits, or with two labels."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.columns import LABEL, TEXT
from pipeline.data.folding import number_texts
from pipeline.data.splits import SplitName


def audit(splits: Mapping[SplitName, pd.DataFrame]) -> dict[str, Any]:
    """Counts of exact duplicates and of conflicting labels.

    Returns:
        `duplicates_within`: split -> rows whose text stands earlier in the same split;
        `duplicates_across`: `a/b` -> distinct texts that stand in both splits;
        `conflicting_labels`: distinct texts that carry more than one label anywhere.
    """
    numbers, distinct = number_texts({name: table[TEXT] for name, table in splits.items()})
    stands = {name: np.bincount(mine, minlength=len(distinct)) > 0 for name, mine in numbers.items()}
    labels = np.unique(np.concatenate([table[LABEL].to_numpy() for table in splits.values()]), return_inverse=True)[1]
    pairs = np.unique(np.concatenate([*numbers.values()]) * (labels.max(initial=0) + 1) + labels)
    labels_per_text = np.bincount(pairs // (labels.max(initial=0) + 1))
    return {
        "duplicates_within": {name: len(mine) - int(stands[name].sum()) for name, mine in numbers.items()},
        "duplicates_across": {f"{a}/{b}": int((stands[a] & stands[b]).sum()) for a, b in combinations(splits, 2)},
        "conflicting_labels": int((labels_per_text > 1).sum()),
    }
