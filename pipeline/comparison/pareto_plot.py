"""The picture of what quality costs: a panel per cost, a point per row; adjustText finds places for the names."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.comparison.palette import LIGHT, color_number, marker_of
from pipeline.comparison.pareto import Cost, Point, by_setting
from pipeline.comparison.statistics import Statistics
from pipeline.lettering import find_lettering

_ROOM = (1.25, 1.9)  # that a name takes, as multiples of its width and height, so that it keeps off the points
_MOST_NAMES = 40
_WIDTH = 70  # letters of a line below a panel
_MOST_MOVES = 150  # of the names: a limit in steps, where one in seconds would give another picture on a busy machine


def draw_pareto(points: dict[Cost, list[Point]], statistics: Statistics) -> Figure:
    """A panel per cost and setting: macro F1 with its interval against the cost, hollow where a cheaper row is better.

    The line joins the points of the front as observed. Rows that did not learn are crosses, at the edge where they lie below
    the others.
    """
    columns = 2
    by_panel = [(cost, setting, here) for cost, mine in points.items() for setting, here in by_setting(mine).items()]
    rows = math.ceil(len(by_panel) / columns)
    several = {cost for cost, mine in points.items() if len(by_setting(mine)) > 1}
    figure = Figure(figsize=(13, 4.6 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (cost, setting, mine) in zip(panels, by_panel, strict=False):
        _draw_panel(axes, mine, statistics)
        axes.set_xlabel(f"{cost.title}\n{textwrap.fill(setting, _WIDTH)}" if cost in several else cost.title)
    for axes in panels[len(by_panel) :]:
        axes.set_axis_off()
    ranked = any(point.on_front is not None for mine in points.values() for point in mine)
    hollow = "; hollow: a row that costs no more is shown to be better" if ranked else ""
    figure.suptitle(f"Test macro F1 with its 95 % interval{hollow}", fontsize=11)
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
        [point.f1_macro.value for point in front],
        color="grey",
        linewidth=1,
        linestyle=":",
        drawstyle="steps-post",
    )
    for point in points:
        quality, price, color = point.f1_macro, point.cost, LIGHT[color_number(point.row)]
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
    axes.set_ylabel("test macro F1")
    axes.spines[["top", "right"]].set_visible(False)


def _score_range(points: Sequence[Point], statistics: Statistics) -> tuple[float, float]:
    """Where the vertical axis begins and ends: what did not learn leaves it to the others, if there are any."""
    learned = [point for point in points if not statistics.rows[point.row].learned_nothing] or points
    low, high = min(point.f1_macro.low for point in learned), max(point.f1_macro.high for point in learned)
    room = 0.12 * (high - low) or 0.05
    return low - room, high + room


def _name_points(axes: Axes, points: Sequence[Point], statistics: Statistics) -> None:
    """Names beside the points, moved until none covers another; a thin line where a name had to go far.

    Of very many points those on the front have names; none where rows are not ranked.
    """
    if len(points) > _MOST_NAMES:
        points = [point for point in points if point.on_front]
    low, high = axes.get_ylim()
    names = [_name_point(point, statistics, low) for point in points]
    lettering = find_lettering(names)
    costs, scores = [point.cost.value for point in points], [min(high, max(low, point.f1_macro.value)) for point in points]
    texts = [
        axes.text(
            cost,
            score,
            lettering.spell(name),
            fontsize=8,
            fontfamily=list(lettering.families),
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        for cost, score, name in zip(costs, scores, names, strict=True)
    ]
    line = {"arrowstyle": "-", "color": "grey", "linewidth": 0.6}
    adjust_text(texts, costs, scores, ax=axes, expand=_ROOM, iter_lim=_MOST_MOVES, arrowprops=line)


def _name_point(point: Point, statistics: Statistics, low: float) -> str:
    """The row's name; with its score where that lies below the axis."""
    name = statistics.rows[point.row].name
    return name if point.f1_macro.value >= low else f"{name} (did not learn, {point.f1_macro.value:.3f})"
