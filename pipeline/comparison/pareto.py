"""What quality costs: the rows of a results table that no other row is shown to beat at the same price or less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pipeline.comparison.settings import describe_settings
from pipeline.comparison.statistics import Statistics
from pipeline.evaluation.uncertainty import Interval
from pipeline.tracking.runs import Run


@dataclass(frozen=True)
class Cost:
    """A price of training or of keeping a model."""

    name: str
    title: str
    metrics: tuple[str, ...]
    """Metrics that make it, added up; those that a run lacks count 0, but the first."""
    depends_on_machine: bool = False
    """Whether it can be compared only at the same hardware, precision and batch size."""


COSTS = (
    Cost("trainable_percent", "trainable parameters (%)", ("model/trainable_percent",)),
    Cost("peak_cuda_mb", "peak CUDA memory (MB)", ("cost/peak_cuda_mb",), True),
    Cost("peak_rss_mb", "peak resident memory (MB)", ("cost/peak_rss_mb",), True),
    Cost("seconds", "training time (s), once-only cost included", ("cost/train_seconds", "cost/cache_seconds"), True),
    Cost("artifact_mb", "saved model (MB)", ("cost/artifact_mb",)),
)


@dataclass(frozen=True)
class Point:
    """A row of the results table at one of its costs."""

    row: int
    cost: Interval
    """Mean, lowest and highest over the seeds."""
    f1_macro: Interval
    setting: str
    """Hardware, precision, batch size and processes; empty where the cost does not depend on them."""
    dominated_by: tuple[int, ...] = ()
    """Rows that cost no more in the same setting, and are shown to be better."""
    on_front: bool | None = None
    """Whether no row of the same setting has a higher score at no more cost, shown or not; None of rows that are not ranked.

    What did not learn is on no front.
    """


def find_points(
    table: pd.DataFrame, runs: Sequence[Run], statistics: Statistics, ranked: bool = True
) -> dict[Cost, list[Point]]:
    """Cost -> a point per row that has both the cost and predictions.

    Costs that no run has are left out; so is resident memory where runs have CUDA memory. A row whose runs were not trained
    in one setting has no point where the cost depends on it.

    Args:
        ranked: Whether the rows may be ranked; if not, none is said to be dominated or on the front.
    """
    by_id = {run.run_id: run for run in runs}
    members = [[by_id[run_id] for run_id in ids.split()] for ids in table["run_ids"]]
    found: dict[Cost, list[Point]] = {}
    for cost in COSTS:
        points = []
        for row, mine in enumerate(members):
            quality = statistics.rows[row].f1_macro
            prices = [price for run in mine if (price := _price(run, cost)) is not None]
            settings = describe_settings(mine) if cost.depends_on_machine else [""]
            if quality is not None and prices and len(settings) == 1:
                low, high = min(prices), max(prices)
                mean = min(max(sum(prices) / len(prices), low), high)  # of equal ones it may be off by the last bit
                points.append(Point(row, Interval(mean, low, high), quality, settings[0]))
        if points:
            found[cost] = [_judge(point, points, statistics) for point in points] if ranked else points
    if any(cost.name == "peak_cuda_mb" for cost in found):
        found = {cost: points for cost, points in found.items() if cost.name != "peak_rss_mb"}
    return found


def _price(run: Run, cost: Cost) -> float | None:
    first, *more = cost.metrics
    if first not in run.metrics:
        return None
    return run.metrics[first] + sum(run.metrics.get(name, 0.0) for name in more)


def _judge(point: Point, points: Sequence[Point], statistics: Statistics) -> Point:
    if statistics.rows[point.row].set_apart:
        return replace(point, on_front=False)
    rivals = [
        other
        for other in points
        if other.row != point.row
        and other.setting == point.setting
        and other.cost.value <= point.cost.value
        and not statistics.rows[other.row].set_apart
    ]
    better = []
    for rival in rivals:
        test = statistics.pair(point.row, rival.row)
        if test is not None and test.better == rival.row:
            better.append(rival.row)
    on_front = not any(
        (rival.f1_macro.value, -rival.cost.value) > (point.f1_macro.value, -point.cost.value) for rival in rivals
    )
    return replace(point, dominated_by=tuple(better), on_front=on_front)


def by_setting(points: Iterable[Point]) -> dict[str, list[Point]]:
    """The points of each setting: what is not comparable is not drawn in one panel."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.setting, []).append(point)
    return found


def tabulate_points(points: dict[Cost, list[Point]], statistics: Statistics) -> pd.DataFrame:
    """A row per cost and row of the results table: `pareto.csv`."""
    rows = statistics.rows
    return pd.DataFrame(
        [
            {
                "cost": cost.name,
                "row": rows[point.row].name,
                "value": point.cost.value,
                "value_min": point.cost.low,
                "value_max": point.cost.high,
                "f1_macro": point.f1_macro.value,
                "f1_macro_low": point.f1_macro.low,
                "f1_macro_high": point.f1_macro.high,
                "setting": point.setting,
                "on_front": point.on_front,
                "dominated_by": "; ".join(rows[number].name for number in point.dominated_by),
            }
            for cost, mine in points.items()
            for point in mine
        ]
    )
