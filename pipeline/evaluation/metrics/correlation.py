"""Correlations of predicted with true scores; both are 0 where neither is defined, as of a model that tells nothing."""

from __future__ import annotations

from pipeline.evaluation.metric import Answers, Metric


def _correlations(answers: Answers) -> tuple[float, float]:
    """Spearman's and Pearson's. Neither is defined where all true or all predicted scores are the same."""
    import numpy as np
    from scipy.stats import pearsonr, spearmanr

    gold, predicted = answers.gold.astype(np.float64), answers.predicted.astype(np.float64)
    if len(gold) < 2 or np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return 0.0, 0.0
    return float(spearmanr(gold, predicted).statistic), float(pearsonr(gold, predicted).statistic)


SPEARMAN = Metric(
    name="spearman",
    label="Spearman",
    title="Spearman correlation",
    hub_name="spearmanr",
    of="score",
    compute=lambda answers: answers.share(_correlations)[0],
    lowest=-1.0,
    ranks=True,
    selects=True,
    is_prominent=True,
)
"""Of ranks alone; ties get their mean rank."""
PEARSON = Metric(
    name="pearson",
    label="Pearson",
    title="Pearson correlation",
    hub_name="pearsonr",
    of="score",
    compute=lambda answers: answers.share(_correlations)[1],
    lowest=-1.0,
    is_prominent=True,
)
