"""Where each row is right: by class, length and confidence, and the texts that most rows get wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.label_sets import hardest_sets
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.evaluation.metric import Counts
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.task import columns_of
from pipeline.evaluation.testing.calibration import calibration_error, reliability
from pipeline.evaluation.testing.predictions import score_by_length

_BY_CLASS = ["row", "class", "texts", "f1"]
_BY_LENGTH = ["row", "min_words", "max_words", "texts", F1.name]
_RELIABILITY = ["row", "low", "high", "texts", "confidence", "accuracy"]
_CERTAINTY = ["row", "accuracy", "confidence", "ece"]


@dataclass(frozen=True)
class Breakdown:
    """Tables with a line per row of the results table and class, quarter or bin; rows without predictions have none."""

    by_class: pd.DataFrame
    """`row`, `class`, `texts`, `f1`, the mean over seeds."""
    by_length: pd.DataFrame
    """`row`, `min_words`, `max_words`, `texts`, and macro F1, the mean over seeds, whatever rows are ranked by.

    Parts are those of `score_by_length`.
    """
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
        support = _count(recorded.gold, recorded.gold, len(recorded.classes)).true
        by_class += list(zip([name] * len(scores), recorded.classes, support.tolist(), scores.tolist(), strict=True))
        for low, high, chosen in parts:
            gold = recorded.gold[chosen]
            of_part = [F1.of_counts(_count(gold, mine[chosen], len(recorded.classes))) for mine in predicted]
            by_length.append((name, low, high, len(gold), float(np.mean(of_part))))
        # Of label sets the probability of a label is held against whether it is true, of every text and label.
        right = [recorded.gold.ravel() if recorded.of_sets else mine == recorded.gold for mine in predicted]
        confidence = [recorded.confidence[run_id].ravel() for run_id in ids]
        if not np.isnan(confidence).any():
            of_all = reliability(np.concatenate(right), np.concatenate(confidence))
            bins.append(pd.DataFrame(of_all).assign(row=name)[_RELIABILITY])
            errors = [calibration_error(reliability(*answers)) for answers in zip(right, confidence, strict=True)]
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


def _f1_by_class(gold: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """As scikit-learn's `f1_score`, in a hundredth of its time; 0 of a class that is neither true nor predicted."""
    counts = _count(gold, predicted, classes)
    scores: NDArray[np.float64] = 2 * counts.right / np.maximum(1, counts.predicted + counts.true)
    return scores


def _count(gold: NDArray[Any], predicted: NDArray[Any], classes: int) -> Counts:
    if gold.ndim == 2:
        exact = np.array((gold == predicted).all(axis=1).sum())
        return Counts((gold & predicted).sum(axis=0), predicted.sum(axis=0), gold.sum(axis=0), len(gold), exact)
    right, said, true = (np.bincount(labels, minlength=classes) for labels in (gold[gold == predicted], predicted, gold))
    return Counts(right, said, true, len(gold))


MOST = 50


def hardest_examples(
    recorded: RecordedPredictions,
    rows: Mapping[str, Sequence[str]] | None = None,
    unlearned: Collection[str] = (),
    most: int = MOST,
) -> pd.DataFrame:
    """The texts that the largest share of strategies gets wrong, of these the ones with the highest confidence first.

    A label that every model contradicts with confidence is often itself the mistake.

    Args:
        rows: Strategy -> ids of its runs, which share its vote; every run counts by itself if not given.
        unlearned: Ids of runs without a vote: what did not learn is wrong for no reason in the text.
        most: At most so many texts; none that every model gets right.

    Returns:
        Columns `sentence` (of pairs `sentence_pair` beside it), `gold`, `wrong_share` (of the strategies; seeds averaged),
        `confidence` (mean probability of the wrong class where a model is wrong; 0 of models that give none),
        `usual_mistake` (the wrong class that most say). Of label sets those of `hardest_sets`.
    """
    more = ["wrong_labels"] if recorded.of_sets else []
    columns = [*columns_of(recorded.texts), "gold", "wrong_share", *more, "confidence", "usual_mistake"]
    votes = rows or {run_id: [run_id] for run_id in recorded.run_ids}
    voters = [[run_id for run_id in ids if run_id in recorded.predicted and run_id not in unlearned] for ids in votes.values()]
    voters = [ids for ids in voters if ids]
    if not voters:
        return pd.DataFrame(columns=columns)
    if recorded.of_sets:
        sets = [[(recorded.predicted[run_id], recorded.confidence[run_id]) for run_id in ids] for ids in voters]
        return hardest_sets(recorded.texts, recorded.gold, recorded.classes, sets, most)
    wrong_share = np.zeros(len(recorded.gold))
    sure = np.zeros(len(recorded.gold))
    for ids in voters:
        wrong = np.stack([recorded.predicted[run_id] for run_id in ids]) != recorded.gold
        confidence = np.nan_to_num(np.stack([recorded.confidence[run_id] for run_id in ids]))
        wrong_share += wrong.mean(axis=0)
        sure += (wrong * confidence).mean(axis=0)
    confidence = sure / np.maximum(wrong_share, 1e-12)
    wrong_share /= len(voters)
    order = np.lexsort((-confidence, -wrong_share))[:most]
    chosen = order[wrong_share[order] > 0]
    said = np.stack([recorded.predicted[run_id][chosen] for ids in voters for run_id in ids])
    usual = [np.bincount(said[:, place][said[:, place] != recorded.gold[row]]).argmax() for place, row in enumerate(chosen)]
    return pd.DataFrame(
        {
            **columns_of([recorded.texts[row] for row in chosen]),
            "gold": [recorded.classes[recorded.gold[row]] for row in chosen],
            "wrong_share": wrong_share[chosen],
            "confidence": confidence[chosen],
            "usual_mistake": [recorded.classes[label] for label in usual],
        },
        columns=columns,
    )
