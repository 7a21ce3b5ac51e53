"""Predicted sets of labels of several runs: read back, and the texts that most rows get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.label_sets.matrix import as_matrix
from pipeline.errors import shorten
from pipeline.evaluation.multi_label import write_sets
from pipeline.evaluation.task import columns_of
from pipeline.json_text import parse_json

Flags = NDArray[np.bool_]


def read_sets(written: NDArray[np.str_], index: dict[str, int]) -> Flags:
    """Which text has which label; shape [texts, labels].

    Args:
        written: JSON lists of names, which `check_sets` holds; shape [texts].
        index: Label -> its number; names that are not there yet are added, and none may be added after the first use.
    """
    distinct, numbers = np.unique(written, return_inverse=True)
    sets = [[index.setdefault(name, len(index)) for name in _names_of(names)] for names in distinct.tolist()]
    return as_matrix(sets, len(index))[numbers]


def check_sets(written: NDArray[np.str_]) -> None:
    """Hold that these are JSON lists of names.

    Raises:
        ValueError: They are not.
    """
    for names in np.unique(written).tolist():
        _names_of(names)


def _names_of(written: str) -> list[str]:
    names = parse_json(written)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{shorten(written)} is no list of labels")
    return names


def read_probabilities(scores: Mapping[str, Any], classes: Sequence[str], texts: int) -> NDArray[np.float64]:
    """The probability of every label, NaN of those without a column; shape [texts, labels]."""
    unknown = np.full(texts, np.nan)
    columns = [np.asarray(scores.get(name, unknown), float) for name in classes]
    return np.stack(columns, axis=1) if columns else np.empty((texts, 0))


def hardest_sets(
    texts: Sequence[Any],
    gold: Flags,
    classes: Sequence[str],
    voters: Sequence[Sequence[tuple[Flags, NDArray[np.float64]]]],
    most: int,
) -> pd.DataFrame:
    """The texts of which the largest share of strategies gets a label wrong, of these the ones with most wrong labels first.

    Args:
        voters: Of each strategy what its runs predicted, and the probability of every label; shape [texts, labels] each.

    Returns:
        Columns `sentence` (of pairs `sentence_pair` beside it), `gold`, `wrong_share` (of the strategies; seeds averaged),
        `wrong_labels` (how many, mean), `confidence` (mean probability of the wrong answers; 0 of models that give none),
        `usual_mistake` (what most say wrongly: `+label` that is not true, or `-label` that is).
    """
    wrong_share, wrong_labels, sure = np.zeros(len(gold)), np.zeros(len(gold)), np.zeros(len(gold))
    mistakes = np.zeros(gold.shape)
    for runs in voters:
        for predicted, probabilities in runs:
            wrong = predicted != gold
            answer = np.nan_to_num(np.where(predicted, probabilities, 1 - probabilities))
            wrong_share += wrong.any(axis=1) / len(runs)
            wrong_labels += wrong.sum(axis=1) / len(runs)
            sure += (wrong * answer).sum(axis=1) / len(runs)
            mistakes += wrong / len(runs)
    confidence = sure / np.maximum(wrong_labels, 1e-12)
    wrong_share, wrong_labels = wrong_share / len(voters), wrong_labels / len(voters)
    order = np.lexsort((-confidence, -wrong_labels, -wrong_share))[:most]
    chosen = order[wrong_share[order] > 0]
    usual = mistakes[chosen].argmax(axis=1) if len(chosen) else chosen
    return pd.DataFrame(
        {
            **columns_of([texts[row] for row in chosen]),
            "gold": write_sets(gold[chosen], classes),
            "wrong_share": wrong_share[chosen],
            "wrong_labels": wrong_labels[chosen],
            "confidence": confidence[chosen],
            "usual_mistake": [
                f"{'-' if gold[row, label] else '+'}{classes[label]}" for row, label in zip(chosen, usual, strict=True)
            ],
        }
    )
