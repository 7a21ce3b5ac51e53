"""The picture of what quality costs: a panel per cost, a point per row; adjustText finds places for the names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.comparison.pareto import Cost, Point
from pipeline.comparison.statistics import Statistics
from pipeline.lettering import find_lettering

_COLORS = ("#3b6fb6", "#c2773b", "#5a9e6f", "#8a5fb0", "#b04a5a", "#6b6b6b")
_ROOM = (1.25, 1.9)  # that a name takes, as multiples of its width and height, so that it keeps off the points
_MOST_NAMES = 40
_MOST_MOVES = 150  # of the names: a limit in steps, where one in seconds would give another picture on a busy machine


def draw_pareto(points: dict[Cost, list[Point]], statistics: Statistics) -> Figure:
    """A panel per cost: macro F1 with its interval against the cost, hollow where a cheaper row is shown to be better.

    The line joins the points of the front as observed. Settings have colours of their own and are not joined.
    """
    columns = 2
    rows = math.ceil(len(points) / columns)
    settings = sorted({point.setting for mine in points.values() for point in mine if point.setting})
    figure = Figure(figsize=(13, 4.6 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (cost, mine) in zip(panels, points.items(), strict=False):
        _draw_panel(axes, cost, mine, settings)
    for axes in panels[len(points) :]:
        axes.set_axis_off()
    ranked = any(point.on_front is not None for mine in points.values() for point in mine)
    hollow = "; hollow: a row that costs no more is shown to be better" if ranked else ""
    figure.suptitle(f"Test macro F1 with its 95 % interval{hollow}", fontsize=11)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # names are placed by where things are now
    for axes, mine in zip(panels, points.values(), strict=False):
        _name_points(axes, mine, statistics)
    return figure


def _draw_panel(axes: Axes, cost: Cost, points: Sequence[Point], settings: Sequence[str]) -> None:
    several = len({point.setting for point in points}) > 1
    for setting in dict.fromkeys(point.setting for point in points):
        color = _COLORS[settings.index(setting) % len(_COLORS)] if setting and several else _COLORS[0]
        mine = [point for point in points if point.setting == setting]
        front = sorted((point for point in mine if point.on_front), key=lambda point: point.cost.value)
        axes.plot(
            [point.cost.value for point in front],
            [point.f1_macro.value for point in front],
            color=color,
            linewidth=1,
            linestyle=":",
            drawstyle="steps-post",
            label=setting if several else None,
        )
        for point in mine:
            quality, price = point.f1_macro, point.cost
            axes.errorbar(
                price.value,
                quality.value,
                yerr=[[quality.value - quality.low], [quality.high - quality.value]],
                xerr=[[price.value - price.low], [price.high - price.value]],
                fmt="o",
                color=color,
                markerfacecolor="white" if point.dominated_by else color,
                markersize=7,
                capsize=3,
                linewidth=1,
            )
    prices = [point.cost.value for point in points]
    if min(prices) > 0 and max(prices) > 20 * min(prices):
        axes.set_xscale("log")
    axes.margins(x=0.16, y=0.12)
    axes.set_xlabel(cost.title)
    axes.set_ylabel("test macro F1")
    axes.spines[["top", "right"]].set_visible(False)
    if several:
        axes.legend(fontsize=7, loc="lower right")


def _name_points(axes: Axes, points: Sequence[Point], statistics: Statistics) -> None:
    """Names beside the points, moved until none covers another; a thin line where a name had to go far.

    Of very many points those on the front have names; none where rows are not ranked.
    """
    if len(points) > _MOST_NAMES:
        points = [point for point in points if point.on_front]
    names = [statistics.rows[point.row].name for point in points]
    lettering = find_lettering(names)
    costs, scores = [point.cost.value for point in points], [point.f1_macro.value for point in points]
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
