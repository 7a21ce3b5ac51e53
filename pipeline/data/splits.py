"""Cut labelled text into train, validation and test."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from pipeline.data.grouping import AlikeTexts, assign_groups, number_groups
from pipeline.data.overlap import LONG_TOKENS
from pipeline.data.pair_overlap import group_pairs
from pipeline.data.sources import GROUP, LABEL, PAIR, TEXT
from pipeline.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
_HELD_OUT = 10  # one part in ten for validation, one for test


def split_randomly(
    parts: Mapping[str, pd.DataFrame], classes: tuple[str, ...], seed: int, where: str
) -> dict[SplitName, pd.DataFrame]:
    """8:1:1, stratified by class. Of a source that comes in parts only `train` is cut, as the SST-2 study does.

    Raises:
        DataError: Too few examples to have every class in every split.
    """
    table = parts.get("all", parts.get("train"))
    if table is None:
        raise DataError(f"{where}: has no train part, only {', '.join(parts)}.")
    _check_counts(table, classes, where)
    held_out = max(round(len(table) / _HELD_OUT), table[LABEL].nunique())
    rest, test = _cut(table, held_out, seed)
    train, validation = _cut(rest, held_out, seed)
    return {"train": train, "validation": validation, "test": test}


def split_officially(
    parts: Mapping[str, pd.DataFrame], classes: tuple[str, ...], seed: int, where: str
) -> dict[SplitName, pd.DataFrame]:
    """The parts that the source comes with.

    Without a labelled test part the validation part is the test (as published SST-2 results have it); without a validation
    part that is left for selection, one is cut from train, so that nothing is ever selected on test data.

    Raises:
        DataError: The source has no parts of its own, or too few examples.
    """
    if "train" not in parts or len(parts) < 2:
        raise DataError(f"{where}: comes as one part, so it has no split of its own. Use --split random.")
    train = parts["train"]
    validation = parts.get("validation")
    test = parts.get("test")
    if test is None:
        validation, test = None, validation
    if test is None:
        raise DataError(f"{where}: has neither a labelled validation nor test part. Use --split random.")
    if validation is None:
        _check_counts(train, classes, where)
        train, validation = _cut(train, max(round(len(train) / _HELD_OUT), train[LABEL].nunique()), seed)
    return {"train": train, "validation": validation, "test": test}


def split_by_groups(
    parts: Mapping[str, pd.DataFrame], classes: tuple[str, ...], seed: int, where: str
) -> tuple[dict[SplitName, pd.DataFrame], dict[str, int]]:
    """Near 8:1:1 and near-stratified, whole groups only; of a source that comes in parts only `train` is cut.

    Groups are the values of the column `group`, if the table has one; else overlapping texts, and then what overlaps all the
    same with `LONG_TOKENS` tokens or more is dropped from train. Pairs of texts go together where they share a text.

    Returns:
        The splits, and how many rows were dropped, by reason.

    Raises:
        DataError: Too few examples or groups, or one group is too large.
    """
    table = parts.get("all", parts.get("train"))
    if table is None:
        raise DataError(f"{where}: has no train part, only {', '.join(parts)}.")
    _check_counts(table, classes, where)
    alike = None if GROUP in table or PAIR in table else AlikeTexts(table[TEXT], seed)
    groups = alike.groups if alike else _given_groups(table)
    labels = table[LABEL].to_numpy()
    sides = assign_groups(groups, labels, [1 - 2 / _HELD_OUT, 1 / _HELD_OUT, 1 / _HELD_OUT], seed)
    _check_sides(sides, groups, labels, classes, GROUP in table, where)
    kept = sides == 0
    if alike is not None:
        kept &= ~alike.straddling(kept, sides > 0)
        gone = np.setdiff1d(labels, labels[kept])
        if len(gone):
            raise DataError(
                f"{where}: every train example of class {classes[int(gone[0])]!r} overlaps a text of validation or test, so "
                "--split grouped leaves none. Change --split-seed, or use --split random."
            )
    chosen = {"train": kept, "validation": sides == 1, "test": sides == 2}
    dropped = {} if alike is None else {f"overlap of {LONG_TOKENS} or more tokens": int((sides == 0).sum() - kept.sum())}
    kept_columns = table.drop(columns=GROUP, errors="ignore")
    return {name: kept_columns[chosen[name]].reset_index(drop=True) for name in SPLITS}, dropped


def choose_sample(size: int, limit: int | None, seed: int) -> np.ndarray:
    """Indices of at most `limit` of `size` rows, drawn without replacement, in ascending order; all if `limit` is None."""
    if limit is None or limit >= size:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, size=limit, replace=False))


def _given_groups(table: pd.DataFrame) -> NDArray[np.integer]:
    """The group of each row: by the column that was named, else of pairs by the texts that they share."""
    if GROUP in table:
        return number_groups(table[GROUP].tolist(), table[GROUP].isna().to_numpy())
    return group_pairs(table)


def _cut(table: pd.DataFrame, held_out: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    kept, cut = train_test_split(np.arange(len(table)), test_size=held_out, random_state=seed, stratify=table[LABEL])
    labels = table[LABEL].to_numpy()
    for rare in np.setdiff1d(labels, labels[cut]):  # of a rare class none may fall to the smaller part: exchange one
        common = np.bincount(labels[cut]).argmax()
        given, taken = np.flatnonzero(labels[kept] == rare)[0], np.flatnonzero(labels[cut] == common)[0]
        kept[given], cut[taken] = cut[taken], kept[given]
    return table.iloc[np.sort(kept)].reset_index(drop=True), table.iloc[np.sort(cut)].reset_index(drop=True)


def _check_sides(
    sides: np.ndarray, groups: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], by_column: bool, where: str
) -> None:
    way_out = "Choose another --group-column" if by_column else "Remove texts that repeat each other"
    if (sides < 0).any():
        of_class = {int(label): len(np.unique(groups[labels == label])) for label in np.unique(labels)}
        fewest = min(of_class, key=lambda label: of_class[label])
        raise DataError(
            f"{where}: --split grouped needs groups of its own in train, validation and test for every class, and class "
            f"{classes[fewest]!r} has {of_class[fewest]} group(s). {way_out}, or use --split random."
        )
    largest = int(np.unique(groups, return_counts=True)[1].max())
    held_out = {name: int((sides == side).sum()) for side, name in enumerate(SPLITS) if side}
    wanted = len(sides) / _HELD_OUT
    off = {name: rows for name, rows in held_out.items() if not wanted / 2 <= rows + 1 or rows > 2 * wanted + len(classes)}
    if off:
        name, rows = next(iter(off.items()))
        raise DataError(
            f"{where}: --split grouped cannot come near 8:1:1: the largest group holds {largest:,} of {len(sides):,} rows, and "
            f"{name} would have {rows:,}. {way_out}, or use --split random."
        )


def _check_counts(table: pd.DataFrame, classes: tuple[str, ...], where: str) -> None:
    counts = table[LABEL].value_counts()
    rare = counts[counts < 3]
    if len(rare):
        raise DataError(
            f"{where}: class {classes[int(rare.index[0])]!r} has {int(rare.iloc[0])} example(s); train, validation and test "
            "need one each. Add examples, or drop the class."
        )
    if len(table) < 10 or len(table) - 2 * max(len(table) // _HELD_OUT, len(counts)) < len(counts):
        raise DataError(f"{where}: {len(table)} rows are too few to cut 8:1:1 with {len(counts)} classes. Add examples.")
