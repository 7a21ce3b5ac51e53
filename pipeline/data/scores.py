"""Labels that are numbers on a scale: read, checked, and cut into fifths so that splits are alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.cleaning import CleanTables, keep_rows, label_texts, leave_out_rejected, strip_texts
from pipeline.data.columns import LABEL
from pipeline.data.source import SourceTables
from pipeline.errors import DataError, shorten

SCORE = "score"
"""Column of the scores while `label` holds the stratum that a split is made by."""

_STRATA = 5
_HIDDEN = -1.0  # how GLUE marks scores that are withheld


def clean_scores(tables: SourceTables, where: str) -> CleanTables:
    """Drop rows without texts or score; `score` is the number, and `label` the fifth of the part's scores that it lies in.

    There are no classes: what stands as their names is the names of the fifths, for messages.

    Raises:
        DataError: A label is no finite number, nothing is left, or all scores are the same.
    """
    dropped = {"missing text": 0, "missing label": 0, "hidden label": 0}
    tables, left_out = leave_out_rejected(tables)
    parts, unlabelled = {}, list(tables.unlabelled)
    for part, table in tables.parts.items():
        texts, no_text = strip_texts(table, where)
        scores = _parse(table, no_text, where, part)
        no_label = ~no_text & np.isnan(scores)
        known = scores[~no_text & ~no_label]
        hidden = np.zeros(len(scores), bool)
        if part == "test" and len(known) and (known == _HIDDEN).all():
            hidden = ~no_text & ~no_label
            unlabelled.append(part)
        for reason, rows in zip(dropped, (no_text, no_label, hidden), strict=True):
            dropped[reason] += int(rows.sum())
        kept = ~(no_text | no_label | hidden)
        if kept.any():
            parts[part] = keep_rows(table, texts, {LABEL: _strata(scores, kept), SCORE: scores}, kept)
    if not parts:
        raise DataError(f"{where}: no row has its texts and a score. Check --text-column and --label-column.")
    values = np.unique(np.concatenate([table[SCORE].to_numpy() for table in parts.values()]))
    if len(values) < 2:
        raise DataError(f"{where}: every row has the score {values[0]:g}, so there is nothing to learn.")
    names = tuple(f"fifth {number + 1} of the scores" for number in range(_STRATA))
    return CleanTables(parts, names, left_out | dropped, tuple(unlabelled))


def as_labels(table: pd.DataFrame) -> pd.DataFrame:
    """A split with its scores as labels, now that it is made."""
    return table.drop(columns=[LABEL]).rename(columns={SCORE: LABEL})


def _parse(table: pd.DataFrame, no_text: NDArray[np.bool_], where: str, part: str) -> NDArray[np.float64]:
    """The scores of a part; NaN where there is none."""
    encoded = label_texts(table[LABEL], where, part).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy()
    used = set(np.unique(codes[~no_text]).tolist())
    numbers = np.full(len(names), np.nan)
    for code, name in enumerate(names):
        if name and code in used:
            numbers[code] = _number(name, where)
    return numbers[codes] if len(names) else np.full(len(table), np.nan)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value) or "_" in text:
        raise DataError(
            f"{where}: label {shorten(text)!r} is no number, as --label-type score wants. Choose another --label-column, or "
            "leave --label-type out if labels are classes."
        )
    return value


def _strata(scores: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The fifth of the kept scores that each lies in; fewer where scores repeat. 0 for rows that are not kept."""
    edges = np.unique(np.quantile(scores[kept], np.arange(1, _STRATA) / _STRATA))
    strata = np.searchsorted(edges, np.where(kept, scores, edges[0]), side="left")
    numbers: NDArray[np.int64] = np.unique(strata, return_inverse=True)[1]
    counts = np.bincount(numbers[kept], minlength=numbers.max(initial=0) + 1)
    return numbers if counts[counts > 0].min() >= 3 else np.zeros_like(numbers)  # splits need three rows of each


def score_range(scores: pd.Series) -> tuple[float, float]:
    """The lowest and the highest score of a training split: what 0 and 1 stand for while training.

    Raises:
        DataError: They are the same.
    """
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        raise DataError(f"Every training example has the score {low:g}, so there is nothing to learn. Change --split-seed.")
    return low, high
