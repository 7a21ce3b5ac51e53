"""Which pairs of texts, and which texts of pairs, stand again in another split.

Texts count as the same where they are so but for case, spacing and punctuation (`normalization`). Of pairs that is enough: what
a model can learn by heart is a pair, or that a text tends to one label.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.data.columns import LABEL, PAIR, TEXT
from pipeline.data.labels import as_series
from pipeline.data.overlap.normalization import Ints, fold_texts
from pipeline.data.overlap.texts import EXAMPLE_CHARACTERS, Overlap, spread

PAIR_KINDS = {
    "pair": "the same two texts, in either order",
    "both_texts": "both texts, in whatever pairs",
    "either_text": "at least one of the texts",
}
"""What is counted of each pair of one split as against those of another."""

_SEPARATOR = "\x1f"  # stands in no text that people write


def measure_pair_overlap(splits: Mapping[Any, pd.DataFrame]) -> Overlap:
    """Pairs that stand again in an earlier split, whole or in one of their texts, for every two splits."""
    keys = _number_keys(splits)
    counts: dict[str, dict[str, int]] = {}
    examples: dict[str, dict[str, list[dict[str, str]]]] = {}
    for a, b in combinations(splits, 2):
        seen = np.isin(keys[b], keys[a])
        flags = {
            "pair": np.isin(_as_one(keys[b]), _as_one(keys[a])),
            "both_texts": seen.all(axis=1),
            "either_text": seen.any(axis=1),
        }
        counts[f"{a}/{b}"] = {"rows": len(seen), **{kind: int(flags[kind].sum()) for kind in PAIR_KINDS}}
        examples[f"{a}/{b}"] = {
            kind: [
                {
                    b: _shown(splits[b], row),
                    a: _shown(splits[a], _other(keys[a], keys[b][row], whole=kind == "pair")),
                }
                for row in spread(np.flatnonzero(rows))
            ]
            for kind, rows in flags.items()
        }
    return Overlap(counts, examples)


def group_pairs(table: pd.DataFrame) -> Ints:
    """A number per pair, equal where pairs share a text, or are linked by pairs that do; shape [pairs]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys = _number_keys({"": table})[""]
    size = int(keys.max(initial=-1)) + 1
    links = coo_array((np.ones(len(keys), np.int8), (keys[:, 0], keys[:, 1])), shape=(size, size))
    group_of_key = connected_components(links, directed=False)[1]
    groups: Ints = group_of_key[keys[:, 0]].astype(np.int64)
    return groups


def as_texts_of_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Pairs as one text each, the same in either order, beside a whole number per label: what the audit counts by."""
    first, second = (pa.chunked_array(pa.array(table[name], pa.large_string())) for name in (TEXT, PAIR))
    swapped = pc.greater(first, second)
    low, high = pc.if_else(swapped, second, first), pc.if_else(swapped, first, second)
    joined = pc.binary_join_element_wise(low, high, pa.scalar(_SEPARATOR, pa.large_string()))
    return pd.DataFrame({TEXT: as_series(joined), LABEL: table[LABEL].to_numpy()})


def _number_keys(splits: Mapping[Any, pd.DataFrame]) -> dict[str, NDArray[np.int64]]:
    """The keys of both texts of each pair, the smaller number first; shape [pairs, 2] each."""
    folded = fold_texts({f"{split} {name}": table[name] for split, table in splits.items() for name in (TEXT, PAIR)})
    keys, start = {}, 0
    for split, table in splits.items():
        both = folded.key_of[start : start + 2 * len(table)].astype(np.int64).reshape(2, -1).T
        keys[split] = np.sort(both, axis=1)
        start += 2 * len(table)
    return keys


def _as_one(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return keys[:, 0] << 32 | keys[:, 1]


def _other(keys: NDArray[np.int64], mine: NDArray[np.int64], whole: bool) -> int:
    """A row with the same pair, or else with one of its texts."""
    same = (keys == mine).all(axis=1) if whole else np.isin(keys, mine).any(axis=1)
    return int(np.flatnonzero(same)[0])


def _shown(table: pd.DataFrame, row: int) -> str:
    return " / ".join(str(table[name].iloc[row])[:EXAMPLE_CHARACTERS] for name in (TEXT, PAIR))
