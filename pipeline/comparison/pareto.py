"""Pareto fronts: the rows that no other row is shown to beat at the same cost or less."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import pandas as pd
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.comparison.comparability import list_predict_settings, list_settings
from pipeline.comparison.plots import LIGHT, LONGEST_NAME, color_number, marker_of
from pipeline.comparison.statistics import Statistics
from pipeline.errors import shorten
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.fonts import find_fonts
from pipeline.tracking.runs import Run

ListSettings: TypeAlias = Callable[[Sequence[Sequence[Run]]], list[list[str]]]


def _list_predict_settings(rows: Sequence[Sequence[Run]]) -> list[list[str]]:
    return [list_predict_settings(runs) for runs in rows]


@dataclass(frozen=True)
class Cost:
    """A price of training or of keeping a model."""

    name: str
    title: str
    metrics: tuple[str, ...]
    """Metrics that make it, added up; those that a run lacks count 0, but the first."""
    list_settings: ListSettings | None = None
    """The settings of each row, within one of which it can be compared; None where the machine does not matter."""
    bounds: tuple[str, ...] = ()
    """Metrics of a run's own lowest and highest value, where it has any."""
    instead: tuple[str, ...] = ()
    """Metrics of value, lowest and highest of what may be used instead; without a run that has them there is no such cost."""


_LATENCY = ("cost/latency_ms_median", "cost/latency_ms_low", "cost/latency_ms_high")
_MERGED_LATENCY = ("cost/merged_latency_ms_median", "cost/merged_latency_ms_low", "cost/merged_latency_ms_high")

COSTS = (
    Cost("trainable_percent", "trainable parameters (%)", ("model/trainable_percent",)),
    Cost("peak_cuda_mb", "peak CUDA memory (MB)", ("cost/peak_cuda_mb",), list_settings),
    Cost("peak_rss_mb", "peak resident memory (MB)", ("cost/peak_rss_mb",), list_settings),
    Cost("seconds", "training time (s), once-only cost included", ("cost/train_seconds", "cost/cache_seconds"), list_settings),
    Cost("artifact_mb", "saved model (MB)", ("cost/artifact_mb",)),
    Cost("latency_ms", "time to answer one text (ms)", _LATENCY[:1], _list_predict_settings, _LATENCY[1:]),
    Cost(
        "merged_latency_ms",
        "time to answer one text (ms), adapters merged",
        *(_LATENCY[:1], _list_predict_settings, _LATENCY[1:], _MERGED_LATENCY),
    ),
)


@dataclass(frozen=True)
class Point:
    """A row of the results table at one of its costs."""

    row: int
    cost: Interval
    """Mean, lowest and highest over the seeds."""
    score: Interval
    """Of the metric by which rows are ranked."""
    setting: str
    """Hardware, precision, batch size and processes; empty where the cost does not depend on them."""
    dominated_by: tuple[int, ...] = ()
    """Rows that cost no more in the same setting, and are shown to be better."""
    on_front: bool | None = None
    """Whether no row of the same setting has a better score at no more cost, shown or not; None of rows that are not ranked.

    What did not learn is on no front.
    """


def find_points(
    table: pd.DataFrame, runs: Sequence[Run], statistics: Statistics, ranked: bool = True
) -> dict[Cost, list[Point]]:
    """Cost -> a point per row that has both the cost and predictions.

    Costs that no run has are left out; so is resident memory where runs have CUDA memory. A row whose runs were not trained
    in one setting has no point where the cost depends on it, and one that reads no text has none: next to nothing is on every
    front, and would stretch every axis.

    Args:
        ranked: Whether the rows may be ranked; if not, none is said to be dominated or on the front.
    """
    by_id = {run.run_id: run for run in runs}
    members = [[by_id[run_id] for run_id in ids.split()] for ids in table["run_ids"]]
    by_cost: dict[Cost, list[Point]] = {}
    for cost in COSTS:
        if cost.instead and not any(cost.instead[0] in run.metrics for run in runs):
            continue
        settings_by_row = cost.list_settings(members) if cost.list_settings else [[""]] * len(members)
        points = []
        for row, mine in enumerate(members):
            quality = statistics.rows[row].score
            prices = [price for run in mine if (price := _price(run, cost)) is not None]
            settings = settings_by_row[row]
            if quality is not None and prices and len(settings) == 1 and not statistics.rows[row].is_guess:
                low, high = min(price.low for price in prices), max(price.high for price in prices)
                mean = sum(price.value for price in prices) / len(prices)
                mean = min(max(mean, low), high)  # of equal ones it may be off by the last bit
                points.append(Point(row, Interval(mean, low, high), quality, settings[0]))
        if points:
            by_cost[cost] = [_judge(point, points, statistics) for point in points] if ranked else points
    if any(cost.name == "peak_cuda_mb" for cost in by_cost):
        by_cost = {cost: points for cost, points in by_cost.items() if cost.name != "peak_rss_mb"}
    return by_cost


def _price(run: Run, cost: Cost) -> Interval | None:
    """A run's cost, with its own lowest and highest value where it has any."""
    if cost.instead and all(name in run.metrics for name in cost.instead):
        return Interval(*(run.metrics[name] for name in cost.instead))
    first, *more = cost.metrics
    if first not in run.metrics:
        return None
    value = run.metrics[first] + sum(run.metrics.get(name, 0.0) for name in more)
    low, high = (run.metrics.get(name, value) for name in cost.bounds or ("", ""))
    return Interval(value, low, high)


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

    def good(of: Point) -> tuple[float, float]:
        return statistics.metric.goodness(of.score.value), -of.cost.value

    on_front = not any(good(rival) > good(point) for rival in rivals)
    return replace(point, dominated_by=tuple(better), on_front=on_front)


def by_setting(points: Iterable[Point]) -> dict[str, list[Point]]:
    """The points of each setting: what is not comparable is not drawn in one panel."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.setting, []).append(point)
    return groups


def tabulate_points(points: dict[Cost, list[Point]], statistics: Statistics) -> pd.DataFrame:
    """A row per cost and row of the results table: `pareto.csv`."""
    rows, metric = statistics.rows, statistics.metric
    return pd.DataFrame(
        [
            {
                "cost": cost.name,
                "row": rows[point.row].name,
                "value": point.cost.value,
                "value_min": point.cost.low,
                "value_max": point.cost.high,
                metric.name: point.score.value,
                f"{metric.name}_low": point.score.low,
                f"{metric.name}_high": point.score.high,
                "setting": point.setting,
                "on_front": point.on_front,
                "dominated_by": "; ".join(rows[number].name for number in point.dominated_by),
            }
            for cost, mine in points.items()
            for point in mine
        ]
    )


_ROOM = (1.25, 1.9)  # that a name takes, as multiples of its width and height, so that it keeps off the points
_MOST_NAMES = 40
_WIDTH = 70  # letters of a line below a panel
_MOST_MOVES = 150  # of the names: a limit in steps, where one in seconds would give another picture on a busy machine


class _LaidOutOnce(Figure):
    """A figure whose `draw_without_rendering` draws once.

    `adjust_text` calls it before it places the names of a panel, which needs the axes where they are; each time all names that
    were placed before would be drawn again.
    """

    _is_laid_out = False

    def draw_without_rendering(self) -> None:
        """Find out where everything is, for good."""
        if not self._is_laid_out:
            super().draw_without_rendering()
            self._is_laid_out = True


def draw_pareto(points: dict[Cost, list[Point]], statistics: Statistics) -> Figure:
    """A panel per cost and setting: the score with its interval against the cost, hollow where a cheaper row is better.

    The line joins the points of the front as observed. Rows that did not learn are crosses, at the edge where they lie below
    the others.
    """
    columns = 2
    by_panel = [(cost, setting, here) for cost, mine in points.items() for setting, here in by_setting(mine).items()]
    rows = math.ceil(len(by_panel) / columns)
    several = {cost for cost, mine in points.items() if len(by_setting(mine)) > 1}
    figure = _LaidOutOnce(figsize=(13, 4.6 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (cost, setting, mine) in zip(panels, by_panel, strict=False):
        _draw_panel(axes, mine, statistics)
        below = f"\n{textwrap.fill(shorten(setting, 5 * _WIDTH), _WIDTH)}" if cost in several else ""
        axes.set_xlabel(f"{cost.title}{below}", parse_math=False)
    for axes in panels[len(by_panel) :]:
        axes.set_axis_off()
    ranked = any(point.on_front is not None for mine in points.values() for point in mine)
    hollow = "; hollow: a row that costs no more is shown to be better" if ranked else ""
    figure.suptitle(f"Test {statistics.metric.title} with its 95 % interval{hollow}", fontsize=11)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # names are placed by where things are now
    for axes, (_, _, mine) in zip(panels, by_panel, strict=False):
        _name_points(axes, mine, statistics)
    return figure


def _draw_panel(axes: Axes, points: Sequence[Point], statistics: Statistics) -> None:
    low, high = _score_range(points, statistics)
    front = sorted((point for point in points if point.on_front), key=lambda point: point.cost.value)
    axes.plot(
        [point.cost.value for point in front],
        [point.score.value for point in front],
        color="grey",
        linewidth=1,
        linestyle=":",
        drawstyle="steps-post",
    )
    for point in points:
        quality, price, color = point.score, point.cost, LIGHT[color_number(point.row)]
        apart = statistics.rows[point.row].learned_nothing
        axes.errorbar(
            price.value,
            min(high, max(low, quality.value)),
            yerr=None if apart else [[quality.value - quality.low], [quality.high - quality.value]],
            xerr=[[price.value - price.low], [price.high - price.value]],
            fmt="x" if apart else marker_of(point.row),
            color=color,
            markerfacecolor="white" if point.dominated_by else color,
            markersize=7,
            capsize=3,
            linewidth=1,
            clip_on=not apart,
        )
    prices = [point.cost.value for point in points]
    if min(prices) > 0 and max(prices) > 20 * min(prices):
        axes.set_xscale("log")
    axes.margins(x=0.16)
    axes.set_ylim(low, high)
    axes.set_ylabel(f"test {statistics.metric.directed_title}")
    axes.spines[["top", "right"]].set_visible(False)


def _score_range(points: Sequence[Point], statistics: Statistics) -> tuple[float, float]:
    """Where the vertical axis begins and ends: what did not learn leaves it to the others, if there are any."""
    learned = [point for point in points if not statistics.rows[point.row].learned_nothing] or points
    low, high = min(point.score.low for point in learned), max(point.score.high for point in learned)
    room = 0.12 * (high - low) or 0.05
    return low - room, high + room


def _name_points(axes: Axes, points: Sequence[Point], statistics: Statistics) -> None:
    """Names beside the points, moved until none covers another; a thin line where a name had to go far.

    Of very many points those on the front have names; none where rows are not ranked.
    """
    if len(points) > _MOST_NAMES:
        points = [point for point in points if point.on_front]
    low, high = axes.get_ylim()
    names = [_name_point(point, statistics, low, high) for point in points]
    fonts = find_fonts(names)
    costs, scores = [point.cost.value for point in points], [min(high, max(low, point.score.value)) for point in points]
    texts = [
        axes.text(
            cost,
            score,
            fonts.spell(name),
            fontsize=8,
            fontfamily=list(fonts.families),
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        for cost, score, name in zip(costs, scores, names, strict=True)
    ]
    line = {"arrowstyle": "-", "color": "grey", "linewidth": 0.6}
    adjust_text(texts, costs, scores, ax=axes, expand=_ROOM, iter_lim=_MOST_MOVES, arrowprops=line)


def _name_point(point: Point, statistics: Statistics, low: float, high: float) -> str:
    """The row's name; with its score where that lies beyond the axis."""
    name = shorten(statistics.rows[point.row].name, LONGEST_NAME)
    return name if low <= point.score.value <= high else f"{name} (did not learn, {point.score.value:.3f})"
