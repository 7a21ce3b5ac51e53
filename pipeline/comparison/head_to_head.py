"""Two trained models held against each other on the same test texts, and one by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.comparison.pair_tests import JudgedRuns, PairTest, compare_pairs
from pipeline.comparison.predictions import RecordedPredictions, read_predictions
from pipeline.comparison.ranking import refuse_unfit_predictions
from pipeline.errors import RunError
from pipeline.evaluation.metric import Metric, list_metrics
from pipeline.evaluation.statistics.bootstrap import ResampledScores, resample_scores
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.tracking.runs import Run, RunStore

_BY_NAME = {metric.name: metric for metric in list_metrics()}


@dataclass(frozen=True)
class HeadToHead:
    """Two trained models on the same texts; seeds do not vary, so it is said of these models and not of their strategies."""

    test: PairTest
    """The first row is the challenger, the second the champion."""
    texts: int

    @property
    def is_better(self) -> bool:
        """Whether the challenger is shown to be better."""
        return self.test.better == 0

    def is_no_worse(self, margin: float) -> bool:
        """Whether the 95 % interval says that the champion is better by less than `margin`."""
        return self.test.lead.low > -margin


def hold_against(challenger: Run, champion: Run, metric: Metric, store: RunStore) -> HeadToHead:
    """The paired test of two tested runs.

    Raises:
        RunError: One has no predictions that can be read, or they are of other texts.
        ConfigError: They do not suffice for the metric.
    """
    recorded = read_predictions([challenger, champion], store)
    for run_id, reason in recorded.missing.items():
        raise RunError(f"Run {run_id}: {reason}. `python -m pipeline evaluate --run-id {run_id} --force true` writes it anew.")
    refuse_unfit_predictions(metric, recorded, [challenger, champion])
    predicted = np.stack([recorded.predicted[run.run_id] for run in (challenger, champion)])
    wrong = predicted != recorded.gold
    counted = wrong.sum(axis=2) if recorded.of_sets else wrong.astype(np.int8)
    (test,) = compare_pairs([{(): 0}, {(): 1}], JudgedRuns.of(_resample(recorded, predicted), counted, metric))
    return HeadToHead(test, len(recorded.gold))


def score_alone(run: Run, store: RunStore) -> Mapping[str, Interval]:
    """Name of each metric that has an interval -> the test score of one run with it; none where labels are scores.

    Raises:
        RunError: The run has no predictions that can be read.
    """
    recorded = read_predictions([run], store)
    if reason := recorded.missing.get(run.run_id):
        raise RunError(
            f"Run {run.run_id}: {reason}. `python -m pipeline evaluate --run-id {run.run_id} --force true` writes it anew."
        )
    if not recorded.predicted:
        return {}
    scores = _resample(recorded, np.stack([recorded.predicted[run.run_id]]))
    estimates = scores.estimate([scores.each([0])])
    return {name: score.interval(_BY_NAME[name].lowest, _BY_NAME[name].highest) for name, score in estimates.items()}


def are_of_the_same_texts(run: Run, other: Run, store: RunStore) -> bool:
    """Whether two runs have predictions of the same texts with the same labels, in the same order."""
    mine, theirs = (read_predictions([each], store) for each in (run, other))
    if not (mine.predicted and theirs.predicted) or mine.gold.shape[0] != theirs.gold.shape[0]:
        return False
    return list(mine.texts) == list(theirs.texts) and not read_predictions([run, other], store).missing


def _resample(recorded: RecordedPredictions, predicted: np.ndarray) -> ResampledScores:
    probabilities = list(recorded.probabilities.values())
    fitting = probabilities if len(probabilities) == len(predicted) else []  # pairs are of all runs
    return resample_scores(recorded.gold, predicted, len(recorded.classes), probabilities=fitting)
