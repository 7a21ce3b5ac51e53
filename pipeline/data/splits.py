"""Cut labelled text into train, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config import DEFAULT_RATIOS
from pipeline.data.annotations.copies import COPIES
from pipeline.data.columns import GROUP, LABEL, PAIR, TEXT
from pipeline.data.label_sets.matrix import as_matrix, count_labels, holds_sets
from pipeline.data.label_sets.stratification import stratify
from pipeline.data.overlap.grouping import AlikeTexts, assign_groups, join_groups, number_groups
from pipeline.data.overlap.pairs import group_pairs
from pipeline.data.overlap.texts import LONG_TOKENS
from pipeline.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class _Asked:
    """Why groups of rows stay whole, for messages."""

    what: str
    way_out: str


_SPLIT_BY_COLUMN = _Asked("--split grouped", "Choose another --group-column, or use --split random")
_SPLIT_ALIKE = _Asked("--split grouped", "Remove texts that repeat each other, or use --split random")
_SPLIT_COPIES = _Asked(
    "a split that keeps a text's annotations together", "Add examples, or pass --annotators first, majority or drop"
)


def split_randomly(
    parts: Mapping[str, pd.DataFrame],
    classes: tuple[str, ...],
    seed: int,
    where: str,
    ratios: Sequence[float] = DEFAULT_RATIOS,
) -> dict[SplitName, pd.DataFrame]:
    """Test is cut from all, then validation from the rest, stratified by class; by iterative stratification of label sets.

    Where several annotated a text, its copies stay together.

    Of a source that comes in parts only `train` is cut, as the SST-2 study does.

    Args:
        ratios: Shares of train, validation and test; they sum to 1.

    Raises:
        DataError: Too few examples to have every class in every split.
    """
    table = parts.get("all", parts.get("train"))
    if table is None:
        raise DataError(f"{where}: has no train part, only {', '.join(parts)}.")
    _check_counts(table, classes, where, ratios)
    if COPIES in table:
        return _split_whole(table, table[COPIES].to_numpy(), _SPLIT_COPIES, classes, seed, where, ratios)
    if holds_sets(table[LABEL]):
        return dict(
            zip(SPLITS, _cut_sets(table, [_held_out(table, share) for share in ratios[1:]], seed, classes, where), strict=True)
        )
    rest, test = _cut(table, _held_out(table, ratios[2]), seed, classes, where)
    train, validation = _cut(rest, _held_out(table, ratios[1]), seed, classes, where)
    return {"train": train, "validation": validation, "test": test}


def split_officially(
    parts: Mapping[str, pd.DataFrame],
    classes: tuple[str, ...],
    seed: int,
    where: str,
    ratios: Sequence[float] = DEFAULT_RATIOS,
) -> dict[SplitName, pd.DataFrame]:
    """The parts that the source comes with.

    Without a labelled test part the validation part is the test (as published SST-2 results have it); without a validation
    part that is left for selection, one is cut from train, so that nothing is ever selected on test data.

    Raises:
        DataError: The source has no parts of its own, or too few examples; or other ratios than the usual are asked for.
    """
    if tuple(ratios) != DEFAULT_RATIOS:
        raise DataError(
            f"--split-ratios {','.join(f'{share:g}' for share in ratios)}: --split official keeps the parts of {where} as they "
            "are. Use --split random, or leave --split-ratios out."
        )
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
        _check_counts(train, classes, where, ratios)
        if COPIES in train:
            train, validation = _cut_copies(train, ratios[1], seed, classes, where)
        elif holds_sets(train[LABEL]):
            train, validation = _cut_sets(train, [_held_out(train, ratios[1])], seed, classes, where)
        else:
            train, validation = _cut(train, _held_out(train, ratios[1]), seed, classes, where)
    splits: dict[SplitName, pd.DataFrame] = {"train": train, "validation": validation, "test": test}
    return {name: table.drop(columns=COPIES, errors="ignore") for name, table in splits.items()}


def split_by_groups(
    parts: Mapping[str, pd.DataFrame],
    classes: tuple[str, ...],
    seed: int,
    where: str,
    ratios: Sequence[float] = DEFAULT_RATIOS,
) -> tuple[dict[SplitName, pd.DataFrame], dict[str, int]]:
    """Near the ratios and near-stratified, whole groups only; of a source that comes in parts only `train` is cut.

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
    _check_counts(table, classes, where, ratios)
    alike = None if GROUP in table or PAIR in table else AlikeTexts(table[TEXT], seed)
    groups = alike.groups if alike else _given_groups(table)
    labels = _labels(table, classes)
    sides = _assign(table, labels, groups, ratios, seed)
    _check_sides(sides, groups, labels, classes, _SPLIT_BY_COLUMN if GROUP in table else _SPLIT_ALIKE, where, ratios)
    kept = sides == 0
    if alike is not None:
        kept &= ~alike.straddling(kept, sides > 0)
        gone = np.setdiff1d(_present(labels), _present(labels[kept]))
        if len(gone):
            raise DataError(
                f"{where}: every train example of class {classes[int(gone[0])]!r} overlaps a text of validation or test, so "
                "--split grouped leaves none. Change --split-seed, or use --split random."
            )
    chosen = {"train": kept, "validation": sides == 1, "test": sides == 2}
    dropped = {} if alike is None else {f"overlap of {LONG_TOKENS} or more tokens": int((sides == 0).sum() - kept.sum())}
    kept_columns = table.drop(columns=[GROUP, COPIES], errors="ignore")
    return {name: kept_columns[chosen[name]].reset_index(drop=True) for name in SPLITS}, dropped


def choose_sample(size: int, limit: int | None, seed: int) -> np.ndarray:
    """Indices of at most `limit` of `size` rows, drawn without replacement, in ascending order; all if `limit` is None."""
    if limit is None or limit >= size:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, size=limit, replace=False))


def _given_groups(table: pd.DataFrame) -> NDArray[np.integer]:
    """The group of each row: by the column that was named and its text's copies; else of pairs by the texts that they share."""
    if GROUP not in table:
        return group_pairs(table)
    groups = number_groups(table[GROUP].tolist(), table[GROUP].isna().to_numpy())
    return join_groups(groups, table[COPIES].to_numpy()) if COPIES in table else groups


def _labels(table: pd.DataFrame, classes: tuple[str, ...]) -> NDArray[Any]:
    """The class of each row, shape [rows]; of label sets which it has, shape [rows, labels]."""
    return as_matrix(table[LABEL], len(classes)) if holds_sets(table[LABEL]) else table[LABEL].to_numpy()


def _assign(
    table: pd.DataFrame, labels: NDArray[Any], groups: NDArray[np.integer], ratios: Sequence[float], seed: int
) -> NDArray[Any]:
    """The part of each row, near the ratios and near-stratified, whole groups only; -1 where that cannot be."""
    if labels.ndim == 2:
        return stratify(labels, _amounts(table, [round(len(table) * share) for share in ratios[1:]]), seed, groups)
    return assign_groups(groups, labels, ratios, seed)


def _split_whole(
    table: pd.DataFrame,
    groups: NDArray[np.integer],
    asked: _Asked,
    classes: tuple[str, ...],
    seed: int,
    where: str,
    ratios: Sequence[float],
) -> dict[SplitName, pd.DataFrame]:
    """Near the ratios and near-stratified, whole groups only."""
    labels = _labels(table, classes)
    sides = _assign(table, labels, groups, ratios, seed)
    _check_sides(sides, groups, labels, classes, asked, where, ratios)
    kept = table.drop(columns=COPIES)
    return {name: kept[sides == side].reset_index(drop=True) for side, name in enumerate(SPLITS)}


def _cut_copies(
    table: pd.DataFrame, share: float, seed: int, classes: tuple[str, ...], where: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is left, and a part near that share, with the copies of a text on one side."""
    sides = _assign(table, _labels(table, classes), table[COPIES].to_numpy(), (1 - share, share), seed)
    if (sides < 0).any():
        raise DataError(
            f"{where}: not every class has two texts, of which validation could have one. {_SPLIT_COPIES.way_out}, or give a "
            "validation part."
        )
    return table[sides == 0].reset_index(drop=True), table[sides == 1].reset_index(drop=True)


def _held_out(table: pd.DataFrame, share: float) -> int:
    """How many rows a share is, one for each class at least; exact, so that 0.1 of the rows is a tenth of them."""
    return max(round(len(table) * Fraction(str(share))), int((_counts(table) > 0).sum()))


def _cut(
    table: pd.DataFrame, held_out: int, seed: int, classes: tuple[str, ...], where: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is left, and a part of so many rows, with every class in both."""
    from sklearn.model_selection import train_test_split

    labels = table[LABEL].to_numpy()
    counts = np.bincount(labels)
    rarest = int(np.where(counts > 0, counts, len(labels) + 1).argmin())
    too_few = DataError(
        f"{where}: class {classes[rarest]!r} has too few examples for so large a validation or test part. "
        "Add examples, or choose other --split-ratios."
    )
    if counts[rarest] < 2:
        raise too_few
    kept, cut = train_test_split(np.arange(len(table)), test_size=held_out, random_state=seed, stratify=labels)
    for rare in np.setdiff1d(labels, labels[cut]):  # of a rare class none may fall to the smaller part: exchange one
        common = np.bincount(labels[cut]).argmax()
        given, taken = np.flatnonzero(labels[kept] == rare)[0], np.flatnonzero(labels[cut] == common)[0]
        kept[given], cut[taken] = cut[taken], kept[given]
    if len(np.setdiff1d(labels, labels[kept])):
        raise too_few
    return table.iloc[np.sort(kept)].reset_index(drop=True), table.iloc[np.sort(cut)].reset_index(drop=True)


def _cut_sets(
    table: pd.DataFrame, held_out: Sequence[int], seed: int, classes: tuple[str, ...], where: str
) -> list[pd.DataFrame]:
    """What is left, and parts of so many rows, with every label in each."""
    sides = stratify(as_matrix(table[LABEL], len(classes)), _amounts(table, held_out), seed)
    if (sides < 0).any():
        counts = _counts(table)
        rarest = int(np.where(counts > 0, counts, len(table) + 1).argmin())
        raise DataError(
            f"{where}: not every part can have a text of each label; the rarest is {classes[rarest]!r} with "
            f"{counts[rarest]:,}. Add examples, leave the label out, or change --split-seed."
        )
    return [table[sides == side].reset_index(drop=True) for side in range(len(held_out) + 1)]


def _amounts(table: pd.DataFrame, held_out: Sequence[int]) -> list[int]:
    return [len(table) - sum(held_out), *held_out]


def _counts(table: pd.DataFrame) -> NDArray[np.int64]:
    """How many rows have each class or label, up to the last that one has."""
    labels = table[LABEL]
    return count_labels(labels, 0) if holds_sets(labels) else np.bincount(labels)


def _present(labels: np.ndarray) -> NDArray[np.int64]:
    """Which classes there are; of label sets given as a matrix, which labels."""
    return np.flatnonzero(labels.any(axis=0)) if labels.ndim == 2 else np.unique(labels)


def _has(labels: np.ndarray, label: int) -> NDArray[np.bool_]:
    has: NDArray[np.bool_] = labels[:, label] if labels.ndim == 2 else labels == label
    return has


def _check_sides(
    sides: np.ndarray,
    groups: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    asked: _Asked,
    where: str,
    ratios: Sequence[float],
) -> None:
    if (sides < 0).any():
        of_class = {int(label): len(np.unique(groups[_has(labels, label)])) for label in _present(labels)}
        fewest = min(of_class, key=lambda label: of_class[label])
        raise DataError(
            f"{where}: {asked.what} needs groups of its own in train, validation and test for every class, and class "
            f"{classes[fewest]!r} has {of_class[fewest]} group(s). {asked.way_out}."
        )
    largest = int(np.unique(groups, return_counts=True)[1].max())
    held_out = {name: int((sides == side).sum()) for side, name in enumerate(SPLITS) if side}
    wanted = {name: len(sides) * share for name, share in zip(SPLITS, ratios, strict=True)}
    off = {
        name: rows
        for name, rows in held_out.items()
        if not wanted[name] / 2 <= rows + 1 or rows > 2 * wanted[name] + len(classes)
    }
    if off:
        name, rows = next(iter(off.items()))
        raise DataError(
            f"{where}: {asked.what} cannot come near {_describe(ratios)}: the largest group holds {largest:,} of "
            f"{len(sides):,} rows, and {name} would have {rows:,}. {asked.way_out}."
        )


def _describe(ratios: Sequence[float]) -> str:
    """`8:1:1`."""
    return ":".join(f"{10 * share:g}" for share in ratios)


def _check_counts(table: pd.DataFrame, classes: tuple[str, ...], where: str, ratios: Sequence[float]) -> None:
    counts, what = _counts(table), "label" if holds_sets(table[LABEL]) else "class"
    there = np.flatnonzero(counts)
    rare = there[counts[there] < 3]
    if len(rare):
        fewest = int(rare[np.argmax(counts[rare])])
        raise DataError(
            f"{where}: {what} {classes[fewest]!r} has {counts[fewest]} example(s); train, validation and test "
            f"need one each. Add examples, or drop the {what}."
        )
    if len(table) < 10 or len(table) - sum(_held_out(table, share) for share in ratios[1:]) < len(there):
        kinds = f"{len(there)} {'labels' if what == 'label' else 'classes'}"
        raise DataError(f"{where}: {len(table)} rows are too few to cut {_describe(ratios)} with {kinds}. Add examples.")
