"""What stands twice: within a split, across splits, or with two labels."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.data.sources import LABEL, TEXT
from pipeline.data.splits import SplitName


def audit(splits: Mapping[SplitName, pd.DataFrame]) -> dict[str, Any]:
    """Counts of exact duplicates and of conflicting labels.

    Returns:
        `duplicates_within`: split -> rows whose text stands earlier in the same split;
        `duplicates_across`: `a/b` -> distinct texts that stand in both splits;
        `conflicting_labels`: distinct texts that carry more than one label anywhere.
    """
    texts = {name: set(table[TEXT]) for name, table in splits.items()}
    names = list(splits)
    everything = pd.concat([table[[TEXT, LABEL]] for table in splits.values()])
    labels_per_text = everything.drop_duplicates().groupby(TEXT).size()
    return {
        "duplicates_within": {name: int(table[TEXT].duplicated().sum()) for name, table in splits.items()},
        "duplicates_across": {f"{a}/{b}": len(texts[a] & texts[b]) for i, a in enumerate(names) for b in names[i + 1 :]},
        "conflicting_labels": int((labels_per_text > 1).sum()),
    }
