"""The learning curve as a picture, and as a table on a terminal."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from pipeline.comparison.learning_curve.curve import LearningCurve
from pipeline.comparison.plots import DASHES, LIGHT, LONGEST_NAME, color_number, dash_number, marker_of
from pipeline.comparison.table import show_group
from pipeline.errors import printable, shorten
from pipeline.fonts import find_fonts

_APART = 0.012
"""By which share of the axis the bars of neighbouring rows stand apart."""
_WIDE = 0.3
"""Of what is possible: intervals that are as wide leave the axis to the others."""


def draw_learning_curve(curve: LearningCurve) -> Figure:
    """Test scores with intervals by number of labelled texts, a line a row; a forecast is hollow and its line dotted."""
    figure = Figure(figsize=(9.5, 5.2), layout="constrained")
    axes, at, handles = figure.subplots(), [size.texts for size in curve.sizes], []
    span = at[-1] / at[0]
    bounds: list[float] = []
    for number, name in enumerate(curve.names):
        color, dashes = LIGHT[color_number(number)], DASHES[dash_number(number)]
        style: dict[str, Any] = {"color": color, "marker": marker_of(number), "markersize": 5.5}
        aside = span ** (_APART * (number - (len(curve.names) - 1) / 2))
        points = [(size.texts * aside, row) for size, row, _ in curve.points(name) if row.score]
        if not points:  # of scores there are no intervals
            points_of_table = [(size.texts, float(line[curve.metric.name])) for size, _, line in curve.points(name)]
            [line] = axes.plot(*zip(*points_of_table, strict=True), linewidth=1.3, **style)
            handles.append(line)
            bounds += [value for _, value in points_of_table]
            continue
        x, scores = [x for x, _ in points], [row.score for _, row in points if row.score]
        y = [score.value for score in scores]
        reach = [[score.value - score.low for score in scores], [score.high - score.value for score in scores]]
        [line] = axes.plot(x, y, linewidth=1.3, alpha=0.9, **style)
        line.set_dashes(dashes or (None, None))
        axes.errorbar(x, y, yerr=reach, fmt="none", ecolor=color, elinewidth=1, capsize=2.5)
        handles.append(line)
        if not any(row.is_guess for _, row in points):
            narrow = [score for score in scores if score.high - score.low < _WIDE * curve.metric.span]
            bounds += [*y, *(bound for score in narrow for bound in (score.low, score.high))]
        for found in curve.forecasts:
            if found.name == name and found.score:
                score, beyond = found.score, found.size * aside
                axes.plot([x[-1], beyond], [y[-1], score.value], linestyle=":", color=color, linewidth=1.2)
                ends = [[score.value - score.low], [score.high - score.value]]
                axes.errorbar([beyond], [score.value], yerr=ends, fmt="none", ecolor=color, elinewidth=0.8, capsize=2.5)
                axes.plot([beyond], [score.value], **{**style, "markerfacecolor": "white"})
    forecasts = sorted({found.size for found in curve.forecasts if found.score})
    axes.set_xscale("log")
    axes.set_xticks([*at, *forecasts], [f"{texts:,}" for texts in at] + [f"{texts:,}\nforecast" for texts in forecasts])
    axes.minorticks_off()
    if bounds:
        room = 0.05 * (max(bounds) - min(bounds)) or 0.02
        axes.set_ylim(min(bounds) - room, max(bounds) + room)
    axes.set_xlabel("labelled texts to train on (log scale)")
    axes.set_ylabel(f"test {curve.metric.directed_title}")
    axes.set_title("Bars: 95 % intervals. Measured at the marks alone; hollow marks are forecasts.", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    names = [shorten(name, LONGEST_NAME) for name in curve.names]
    fonts = find_fonts(names)
    # Numbers first: matplotlib would leave out a name that begins with `_`, and take `$x$` for a formula.
    places = list(map(str, range(len(names))))
    legend = figure.legend(
        handles, places, loc="outside right upper", frameon=False, prop={"family": list(fonts.families), "size": 9}
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(fonts.spell(name))
    return figure


def render_curve(curve: LearningCurve) -> str:
    """A row per row and a column per size: the score, and the group among the rows of that size."""
    rows = []
    for name in curve.names:
        by_size = {size.label: (row, line) for size, row, line in curve.points(name)}
        cells = []
        for size in curve.sizes:
            row, line = by_size.get(size.label, (None, {}))
            letters = show_group(row.group, row.group_mark) if row else ""
            cells.append(f"{float(line[curve.metric.name]):.4f} {letters}".rstrip() if row else "")
        rows.append([printable(name), *cells])
    headings = ["labelled texts", *(f"{size.texts:,}" for size in curve.sizes)]
    return tabulate(rows, headings, disable_numparse=True, colalign=["left"] * len(headings))
