"""Checks of the data: duplicates, conflicting labels, hidden or unseen classes, texts decoded wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import SplitConfig
from pipeline.data.cleaning import CleanTables
from pipeline.data.columns import LABEL, TEXT
from pipeline.data.label_sets.matrix import count_labels, holds_sets, number_sets
from pipeline.data.overlap.normalization import number_texts
from pipeline.data.reading.encodings import SAMPLE, find_better_reading, western_reading
from pipeline.data.splits import SplitName
from pipeline.errors import DataError, shorten


def audit(splits: Mapping[SplitName, pd.DataFrame]) -> dict[str, Any]:
    """Counts of exact duplicates and of conflicting labels.

    Returns:
        `duplicates_within`: split -> rows whose text stands earlier in the same split;
        `duplicates_across`: `a/b` -> distinct texts that stand in both splits;
        `conflicting_labels`: distinct texts that carry more than one label anywhere, or more than one set of labels.
    """
    numbers, distinct = number_texts({name: table[TEXT] for name, table in splits.items()})
    stands = {name: np.bincount(mine, minlength=len(distinct)) > 0 for name, mine in numbers.items()}
    labels = np.concatenate([table[LABEL].to_numpy() for table in splits.values()])
    labels = number_sets(labels) if holds_sets(labels) else np.unique(labels, return_inverse=True)[1]
    pairs = np.unique(np.concatenate([*numbers.values()]) * (labels.max(initial=0) + 1) + labels)
    labels_per_text = np.bincount(pairs // (labels.max(initial=0) + 1))
    return {
        "duplicates_within": {name: len(mine) - int(stands[name].sum()) for name, mine in numbers.items()},
        "duplicates_across": {f"{a}/{b}": int((stands[a] & stands[b]).sum()) for a, b in combinations(splits, 2)},
        "conflicting_labels": int((labels_per_text > 1).sum()),
    }


def count_rows(labels: pd.Series, classes: int) -> list[int]:
    """How many rows have each class, or each label of their sets; empty where labels are scores."""
    if not classes:
        return []
    counts: list[int] = (
        count_labels(labels, classes) if holds_sets(labels) else np.bincount(labels, minlength=classes)
    ).tolist()
    return counts


def describe_dropped(dropped: Mapping[str, int], of: str = "") -> Iterator[str]:
    """How many rows were left out, and why; nothing where none was."""
    if reasons := [f"{count:,} with {reason}" for reason, count in dropped.items() if count]:
        yield f"Dropped rows{of}: {sum(dropped.values()):,} in all, {', '.join(reasons)}."


_LOOKED_AT = 5_000
"""Texts of which is asked whether they are writing."""
HELD_OUT: tuple[SplitName, ...] = ("validation", "test")


def note_hidden_test(tables: CleanTables, config: SplitConfig, where: str) -> list[str]:
    """What is said of a test part whose labels are hidden.

    Raises:
        DataError: It was asked for as test data, and nothing can take its place.
    """
    if "test" not in tables.unlabelled:
        return []
    if config.test_file:
        raise DataError(
            f"--test-file {config.test_file}: its labels are hidden (-1), so no model can be tested on it. Leave --test-file "
            "out: the test part is then --validation-file, or without that one is cut from train."
        )
    if config.split != "official":
        return ["The labels of the test part are hidden, so it is not used."]
    if "validation" not in tables.parts:
        raise DataError(
            f"{where}: the labels of its test part are hidden, and there is no validation part to test on instead. "
            "Use --split random."
        )
    return ["The labels of the test part are hidden: the validation part is the test, and validation is cut from train."]


def note_unseen_classes(splits: Mapping[SplitName, pd.DataFrame], classes: Sequence[str]) -> list[str]:
    """What is said of classes that a model is tested on without having seen them; nothing where labels are scores."""
    if not classes:
        return []
    seen = count_rows(splits["train"][LABEL], len(classes))
    notes = []
    for part in HELD_OUT:
        counts = count_rows(splits[part][LABEL], len(classes))
        unseen = [(name, count) for name, count, trained in zip(classes, counts, seen, strict=True) if count and not trained]
        if unseen:
            listed = ", ".join(f"{shorten(name)} ({count:,})" for name, count in unseen[:5]) + (", ..." if unseen[5:] else "")
            notes.append(f"Classes that stand in {part} but never in train, so no model can learn them: {listed}.")
    return notes


IMBALANCED = 0.9
"""From this share of one class on a data set is called imbalanced."""


def note_imbalance(train: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """What is said of training examples that are nearly all of one class, and what to try; of scores and label sets nothing."""
    if not classes or holds_sets(train[LABEL]):
        return []
    counts = np.bincount(train[LABEL], minlength=len(classes))
    largest, rows = int(counts.argmax()), int(counts.sum())
    if np.count_nonzero(counts) < 2 or counts[largest] < IMBALANCED * rows:
        return []
    threshold = ", or --decision-threshold f1" if len(classes) == 2 else ""
    return [
        f"{100 * counts[largest] / rows:.1f} % of train ({counts[largest]:,} of {rows:,}) is of class "
        f"{shorten(classes[largest])}: who always answers that is right as often, so accuracy says little. Read macro F1 and "
        f"average precision. Try --class-weights balanced{threshold}, and --metric-for-best-model with one of those "
        "(docs/how-to/imbalanced-data.md)."
    ]


def note_mojibake(texts: pd.Series, encoding: str | None) -> list[str]:
    """What is said of texts that are no writing, because their bytes were read in another encoding than they were written in.

    Args:
        encoding: What `--encoding` says of the files.
    """
    telling = [text for text in texts.iloc[:_LOOKED_AT] if not text.isascii()]
    better = find_better_reading("\n".join(telling)[:SAMPLE], encoding)
    if better is None:
        return []
    runs = re.findall(r"[^\x00-\x7f]+(?: *[^\x00-\x7f]+)*", "\n".join(telling[:20]))
    strange = max(runs, key=lambda run: (western_reading(run) == "latin-1", len(run)))[:20]  # such bytes tell most
    if encoding:
        return [
            f"--encoding {encoding}: the texts do not look like writing ({strange!r}), and their bytes fit {better}. "
            f"Is --encoding {better} meant?"
        ]
    return [
        f"The texts do not look like writing ({strange!r}): as it seems {better} was read as "
        f"{western_reading(''.join(telling))} before they were saved. Save them anew from where they come from."
    ]
