"""The CSV files of a comparison: what the report shows, for other programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from pipeline.comparison.conclusions.wording import wording
from pipeline.comparison.data_audit import tabulate_audit
from pipeline.comparison.learning_curve.tables import tabulate_curve, tabulate_forecasts
from pipeline.comparison.pair_tests import PairTest
from pipeline.comparison.pareto import tabulate_points
from pipeline.comparison.report.tables import ReportData
from pipeline.comparison.statistics import Statistics
from pipeline.evaluation.metric import Metric, resampled
from pipeline.tracking.run_kinds import name_with_size


def list_tables(content: ReportData) -> Iterator[tuple[str, pd.DataFrame]]:
    """File name -> table; of scores there are neither pairs nor anything by class."""
    yield "runs.csv", tabulate_runs(content)
    if content.curve:
        yield "learning_curve.csv", tabulate_curve(content.curve, [origin.run for origin in content.provenance])
        yield "learning_curve_forecast.csv", tabulate_forecasts(content.curve)
    yield "audit.csv", tabulate_audit(content.audit)
    if content.points:
        yield "pareto.csv", tabulate_points(content.points, content.statistics)
    if content.statistics.label_type != "score":
        yield "comparisons.csv", _tabulate_all_pairs(content)
        yield "hardest_examples.csv", content.hardest
        if not content.recorded.of_sets:
            yield "confusions.csv", tabulate_confusions(content)
        yield "per_class.csv", content.breakdown.by_class
        yield "per_length.csv", content.breakdown.by_length
        yield "reliability.csv", content.breakdown.reliability


def tabulate_runs(content: ReportData) -> pd.DataFrame:
    """The compared runs, and those that were left out with the reason."""
    rows = _rows_of_runs(content)
    compared = [
        (rows[origin.run.run_id], origin.run, origin.address, origin.command, origin.remake, "")
        for origin in content.provenance
    ]
    left_out = [
        (excluded.name, excluded.run, "", "", "", excluded.reason + excluded.detail) for excluded in content.selection.omitted
    ]
    return pd.DataFrame(
        [
            {
                "row": row,
                "run_id": run.run_id,
                "name": run.name,
                "status": run.status,
                "seed": run.params.get("seed", ""),
                "git_commit": run.tags.get("git_commit", ""),
                "link": link,
                "command": command,
                "make_again": again,
                "left_out": reason,
            }
            for row, run, link, command, again, reason in (*compared, *left_out)
        ]
    )


def _rows_of_runs(content: ReportData) -> dict[str, str]:
    """Run id -> name of its row, with the number of labelled texts where there are several."""
    if content.curve is None:
        tables = [(content.table, content.names)]
    else:
        tables = [
            (size.table, [name_with_size(row.name, f"{size.texts:,}") for row in size.statistics.rows])
            for size in content.curve.sizes
        ]
    return {
        run_id: name
        for table, names in tables
        for name, ids in zip(names, table["run_ids"], strict=True)
        for run_id in ids.split()
    }


def tabulate_confusions(content: ReportData) -> pd.DataFrame:
    """How many texts of a true class the first seed of each row took for which class, where there are any."""
    classes = content.recorded.classes
    confusions = [
        (name, classes[true], classes[predicted], int(counts[true, predicted]))
        for name, counts in content.confusions()
        for true, predicted in zip(*np.nonzero(counts), strict=True)
    ]
    return pd.DataFrame(confusions, columns=["row", "true", "predicted", "texts"])


def _tabulate_all_pairs(content: ReportData) -> pd.DataFrame:
    """Of rows of several numbers of labelled texts the pairs within each, whose number comes first."""
    ranked = content.selection.ranked
    if content.curve is None:
        return tabulate_pairs(content.statistics, ranked)
    by_size = []
    for size in content.curve.sizes:
        pairs = tabulate_pairs(size.statistics, ranked)
        pairs.insert(0, "train_size", size.label)
        by_size.append(pairs)
    return pd.concat(by_size)


def tabulate_pairs(statistics: Statistics, ranked: bool = True) -> pd.DataFrame:
    """A row per pair of rows of the results table: `comparisons.csv`. No row is called better if they are not to be ranked."""
    metrics = sorted(resampled(statistics.label_type), key=lambda metric: metric != statistics.metric)  # what ranks, first
    p_column = wording(statistics.label_type).p_column
    differences = [f"{metric.name}_{what}" for metric in metrics for what in ("difference", "low", "high")]
    return pd.DataFrame(
        [
            {
                "first": statistics.rows[pair.first].name,
                "second": statistics.rows[pair.second].name,
                **dict(zip(differences, _list_differences(pair, metrics), strict=True)),
                "p_value": pair.p_value,
                "p_holm": pair.p_holm,
                p_column: pair.p_mcnemar,
                f"{p_column}_holm": pair.p_mcnemar_holm,
                "discordance": pair.discordance,
                "paired_seeds": pair.paired_seeds,
                "different": pair.different,
                "decided_by": pair.decided_by,
                "interval_overruled_by": pair.overruled_by,
                "better": "" if pair.better is None or not ranked else statistics.rows[pair.better].name,
            }
            for pair in statistics.pairs
        ],
        columns=[
            *("first", "second", *differences),
            *("p_value", "p_holm", p_column, f"{p_column}_holm", "discordance", "paired_seeds"),
            *("different", "decided_by", "interval_overruled_by", "better"),
        ],
    )


def _list_differences(pair: PairTest, metrics: Sequence[Metric]) -> Iterator[float]:
    for metric in metrics:
        difference = pair.differences.get(metric.name)  # of probabilities, where every run gives them
        yield from (difference.value, difference.low, difference.high) if difference else (math.nan,) * 3
