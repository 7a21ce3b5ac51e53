"""By which metric rows are ranked and tested, and whether the runs allow it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.comparison.predictions import FILE, RecordedPredictions
from pipeline.errors import ConfigError, enumerate_some
from pipeline.evaluation.metric import LabelType, Metric, list_ranking, ranking
from pipeline.evaluation.metrics.label_sets import SUBSET_ACCURACY
from pipeline.evaluation.statistics.bootstrap import MOST_SORTED, sorts_in_time
from pipeline.tracking.run_kinds import name_with_seed
from pipeline.tracking.runs import Run

COLUMN = "ranking_metric"
"""Of the results table, in every row: the name of the metric."""
_KINDS = {"class": "classes", "multi": "sets of labels", "score": "scores"}
_NAMED = 3  # of more runs, their number is said


def choose_ranking(of: LabelType, name: str | None) -> Metric:
    """The metric of `--ranking-metric`, or the one that ranks unless told otherwise.

    Raises:
        ConfigError: Labels of this type have no such metric.
    """
    if name is None:
        return ranking(of)
    known = {metric.name: metric for metric in list_ranking(of)}
    if name not in known:
        raise ConfigError(
            f"--ranking-metric {name}: {_KINDS[of]} are not ranked by it. Choose {', '.join(known)} "
            f"(default {ranking(of).name})."
        )
    return known[name]


def headline(table: pd.DataFrame) -> Metric:
    """The metric by which the rows of a results table are ranked: its column names it, or else the one that does by default."""
    scores = ranking("score").name in table
    of: LabelType = "multi" if SUBSET_ACCURACY.name in table else "score" if scores else "class"
    return choose_ranking(of, str(table[COLUMN].iat[0]) if COLUMN in table else None)


def refuse_unmeasured(metric: Metric, runs: Sequence[Run]) -> None:
    """Refuse to rank runs of which some do not have the metric.

    Raises:
        ConfigError: Some have not.
    """
    without = [run for run in runs if f"test/{metric.name}" not in run.metrics]
    if without:
        why = " gives no probabilities, or" if metric.uses_probabilities else ""
        raise ConfigError(
            f"--ranking-metric {metric.name}: {_name(without)} lacks test/{metric.name}; what has none{why} was evaluated "
            f"before it was measured, and `evaluate --run-id` adds it. {_others(metric)}, or name the others with --run-ids."
        )


def refuse_unfit_predictions(metric: Metric, recorded: RecordedPredictions, runs: Sequence[Run]) -> None:
    """Refuse a metric for which the predictions that were read do not suffice; nothing is refused where none were.

    Raises:
        ConfigError: Some hold no probabilities, or they are too many to sort.
    """
    if not (metric.uses_probabilities and recorded.predicted):
        return
    without = [run for run in runs if run.run_id in recorded.predicted and run.run_id not in recorded.probabilities]
    if without:
        raise ConfigError(
            f"--ranking-metric {metric.name}: {FILE} of {_name(without)} holds no probability of every class. "
            f"{_others(metric)}, or name the others with --run-ids."
        )
    refuse_long_sorting(metric, len(recorded.gold), len(recorded.classes), len(recorded.predicted))


def refuse_long_sorting(metric: Metric, texts: int, classes: int, runs: int) -> None:
    """Refuse a metric whose intervals would take too long.

    Raises:
        ConfigError: They would.
    """
    if metric.from_draws and not sorts_in_time(texts, classes, runs):
        raise ConfigError(
            f"--ranking-metric {metric.name}: its intervals sort the texts by each class and run, and {texts:,} texts, "
            f"{classes:,} classes and {runs:,} runs multiply to more than {MOST_SORTED:,}. {_others(metric)}."
        )


def refuse_without_probabilities(metric: Metric, rows: Sequence[str]) -> None:
    """Refuse a metric of probabilities where rows that are to be trained will give none.

    Args:
        rows: Names of these.

    Raises:
        ConfigError: There are any.
    """
    if rows:
        raise ConfigError(
            f"--ranking-metric {metric.name}: is of probabilities, and {enumerate_some(rows, _NAMED)} will give none: a cosine "
            f"is none, and of very many classes they are not kept. {_others(metric)}."
        )


def _others(metric: Metric) -> str:
    simpler = [other.name for other in list_ranking(metric.of) if not other.uses_probabilities and other is not metric]
    return f"Rank by another metric, such as {', '.join(simpler[:_NAMED])}"


def _name(runs: Sequence[Run]) -> str:
    return enumerate_some([f"{name_with_seed(run)} (run {run.run_id})" for run in runs], _NAMED)
