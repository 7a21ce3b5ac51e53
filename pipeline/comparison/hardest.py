"""The test texts that most models get wrong, and are sure of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.comparison.recorded import RecordedPredictions
from pipeline.evaluation.readings import columns_of

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
        `usual_mistake` (the wrong class that most say).
    """
    columns = [*columns_of(recorded.texts), "gold", "wrong_share", "confidence", "usual_mistake"]
    votes = rows or {run_id: [run_id] for run_id in recorded.run_ids}
    voters = [[run_id for run_id in ids if run_id in recorded.predicted and run_id not in unlearned] for ids in votes.values()]
    voters = [ids for ids in voters if ids]
    if not voters:
        return pd.DataFrame(columns=columns)
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
