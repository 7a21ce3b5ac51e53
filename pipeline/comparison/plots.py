"""Pictures of a comparison, and how a row looks in all of them: colour, mark, dashes.

Eight hues after Okabe and Ito (2008). Their lightness was searched so that any two stay apart for the usual kinds of colour
blindness, too (simulated after Machado et al. 2009), on light and on dark paper. The shape of the mark changes from row to row,
so neighbours never differ by colour only. Beyond eight rows colours repeat with another shape and other dashes: 32
combinations in all.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.comparison.ranking import headline
from pipeline.comparison.row_names import label_rows
from pipeline.comparison.statistics import AGAINST_INTERVAL
from pipeline.comparison.table import show_group
from pipeline.errors import shorten
from pipeline.evaluation.metric import Metric, list_metrics
from pipeline.fonts import find_fonts

LIGHT = ("#00219f", "#f35821", "#37a18e", "#551550", "#166993", "#7f480d", "#151011", "#b663f9")
"""On white: blue, vermilion, green, plum, steel blue, brown, black, violet."""
DARK = ("#3362d1", "#d91d01", "#24aa8a", "#90537f", "#7acff7", "#fcbd30", "#f5f5f5", "#b180fc")
"""The same hues on dark paper, in the same order."""
SHAPES = ("circle", "square", "triangle", "diamond")
DASHES = ((), (6, 3), (2, 3), (8, 3, 2, 3))
"""Lengths of strokes and gaps, in widths of a line of one point; none is a whole line."""

_MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D"}


def color_number(row: int) -> int:
    """Which of the colours the row has."""
    return row % len(LIGHT)


def dash_number(row: int) -> int:
    """Which of the dashes its line has."""
    return row // len(LIGHT) % len(DASHES)


def shape_of(row: int) -> str:
    """The shape of its mark."""
    return SHAPES[(row + row // len(LIGHT)) % len(SHAPES)]


def marker_of(row: int) -> str:
    """The same shape, as matplotlib calls it."""
    return _MARKERS[shape_of(row)]


def style_sheet() -> str:
    """The colours and dashes as classes `c0`, `c1`, ... and `dash1`, ... of the page."""
    light, dark = ("; ".join(f"--c{number}: {color}" for number, color in enumerate(colors)) for colors in (LIGHT, DARK))
    return "\n".join(
        [
            f":root {{ {light}; }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark}; }} }}",
            *(f".c{number} {{ color: var(--c{number}); }}" for number in range(len(LIGHT))),
            *(
                f".dash{number} :is(polyline, line:only-of-type) {{ stroke-dasharray: {' '.join(map(str, dashes))}; }}"
                for number, dashes in enumerate(DASHES)
                if dashes
            ),
        ]
    )


LONGEST_NAME = 60
"""Letters of a row's name beside a point or a line; longer ones are cut."""
_NAME_WIDTH = 30
_MOST_LETTERS = 300  # of a name that is folded


@dataclass(frozen=True)
class _Panel:
    """One measure, a bar a row."""

    column: str
    title: str
    form: str
    """How a figure is written behind its bar."""
    logarithmic: bool = False


def draw_all(table: pd.DataFrame) -> dict[str, Figure]:
    """File name without ending -> picture."""
    memory = "peak_cuda_mb" if "peak_cuda_mb" in table else "peak_rss_mb"
    memory_title = "peak CUDA memory (MB)" if memory == "peak_cuda_mb" else "peak resident memory (MB)"
    trained = table[table["trainable_percent"].notna()] if "trainable_percent" in table else table.iloc[:0]
    ranked = headline(table)
    figures = {ranked.short.lower().replace(" ", "_"): _bars(table, [_of_metric(ranked)], with_letters=True)}
    others = [metric for metric in list_metrics(ranked.of) if metric.is_prominent and metric != ranked and metric.name in table]
    if len(trained):
        share = _Panel("trainable_percent", "trainable parameters (%, log scale)", "{:.3g}", True)
        figures["trainable_share"] = _bars(trained, [share])
        figures["overview"] = _bars(
            trained,
            [
                *map(_of_metric, others),
                _Panel("train_loss", "mean train loss", "{:.3f}"),
                _Panel("trainable_params", "trainable parameters (log scale)", "{:,.0f}", True),
            ],
        )
        panels = []
        if memory in trained:
            panels.append(_Panel(memory, memory_title, "{:,.0f}"))
        if "train_seconds" in trained:
            once = trained["cache_seconds"].fillna(0) if "cache_seconds" in trained else 0
            trained = trained.assign(seconds=trained["train_seconds"] + once)
            panels.append(_Panel("seconds", "training time (s), frozen layers' once included", "{:,.0f}"))
        if panels:
            figures["cost"] = _bars(trained, panels, below="setting")
    return figures


def _of_metric(metric: Metric) -> _Panel:
    return _Panel(metric.name, f"test {metric.directed_title}", "{:.3f}")


def _bars(table: pd.DataFrame, panels: Sequence[_Panel], with_letters: bool = False, below: str = "") -> Figure:
    """Horizontal bars, one panel a column; a whisker where the table has the measure's interval.

    Args:
        with_letters: Whether the groups stand behind the figures, and which rows did not learn.
        below: Column whose texts, where the table has it, stand below the names.
    """
    names = [textwrap.fill(shorten(name, _MOST_LETTERS), _NAME_WIDTH) for name in label_rows(table)]
    if below in table:
        more = [textwrap.fill(shorten(text, _MOST_LETTERS), _NAME_WIDTH) for text in table[below]]
        names = [f"{name}\n{text}".rstrip() for name, text in zip(names, more, strict=True)]
    fonts = find_fonts(names)
    names, places = list(map(fonts.spell, names)), range(len(names))
    colors = [LIGHT[color_number(row)] for row in table.index]
    apart = (table["learned"] == "no").tolist() if "learned" in table else [False] * len(table)
    room = max(0.42, 0.18 * max(name.count("\n") + 1 for name in names))  # inches a row
    figure = Figure(figsize=(3.2 + 3.4 * len(panels), 1.1 + room * len(table)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        values = table[panel.column].astype(float)
        bars = axes.barh(places, values, color=colors, log=panel.logarithmic)
        for bar, is_apart in zip(bars, apart, strict=True):
            if is_apart:
                bar.set(facecolor="white", edgecolor=bar.get_facecolor(), hatch="////")
        explained, ends = [panel.title], values
        if (low := f"{panel.column}_low") in table:
            high = table[f"{panel.column}_high"]
            # An interval of rounded probabilities, or without some seeds, may leave the mean out.
            whiskers = [(values - table[low]).clip(lower=0), (high - values).clip(lower=0)]
            axes.errorbar(values, places, xerr=whiskers, fmt="none", ecolor="black", elinewidth=1, capsize=3)
            explained.append("whisker: 95 % interval")
            ends = high.fillna(values)
        of_others = ends[[not is_apart for is_apart in apart]]
        end_of_axis = _leave_room(axes, of_others if of_others.notna().any() else ends, panel.logarithmic)
        behind = _letters(table) if with_letters else [""] * len(table)
        for place, value, end, group, is_apart in zip(places, values, ends, behind, apart, strict=True):
            said = " did not learn" if is_apart and with_letters else ""
            figure_and_letters = f"{panel.form.format(value)} {group}{said}".rstrip()
            if not pd.isna(value):
                reach = min(end, 0.55 * end_of_axis) if is_apart and end_of_axis else end
                axes.annotate(
                    figure_and_letters,
                    (reach, place),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                    path_effects=[withStroke(linewidth=2.5, foreground="white")],
                )
        if any(behind):
            explained.append("same letter: no difference shown")
        if any(AGAINST_INTERVAL in shown for shown in behind):
            explained.append(f"{AGAINST_INTERVAL} against the interval of a difference")
        axes.set_title("\n".join(explained), fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylim(len(names) - 0.4, -0.6)  # the first row on top, and no room beyond
    all_axes[0].set_yticks(places, names, fontfamily=list(fonts.families), parse_math=False)
    return figure


def _letters(table: pd.DataFrame) -> list[str]:
    """What stands behind the figures: the group, where the table has it."""
    if "group" not in table:
        return [""] * len(table)
    marks = table.get("group_mark", [""] * len(table))
    return [show_group(group, mark) for group, mark in zip(table["group"], marks, strict=True)]


def _leave_room(axes: Axes, values: pd.Series, logarithmic: bool) -> float:
    """Room for the figures behind the bars; the axis begins at zero where it can, so lengths may be compared.

    Returns:
        Where the axis ends; 0 where it was left as it is.
    """
    positive = values[values > 0]
    if not len(positive):
        return 0.0
    first, last = (positive.min() / 3, positive.max() * 12) if logarithmic else (0.0, positive.max() * 1.25)
    axes.set_xlim(first, last)
    return float(last)
