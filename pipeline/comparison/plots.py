"""Pictures of a results table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.table import headline, label_rows
from pipeline.lettering import find_lettering

_HEADLINES = {"f1_macro": ("f1", "test macro F1"), "spearman": ("spearman", "test Spearman correlation")}
_NAME_WIDTH = 30
_QUALITY, _SHARE, _COST = "#3b6fb6", "#5a9e6f", "#c2773b"


@dataclass(frozen=True)
class _Panel:
    """One measure, a bar a row."""

    column: str
    title: str
    color: str
    form: str
    """How a figure is written behind its bar."""
    logarithmic: bool = False


def draw_all(table: pd.DataFrame) -> dict[str, Figure]:
    """File name without ending -> picture."""
    memory = "peak_cuda_mb" if "peak_cuda_mb" in table else "peak_rss_mb"
    memory_title = "peak CUDA memory (MB)" if memory == "peak_cuda_mb" else "peak resident memory (MB)"
    trained = table[table["trainable_percent"].notna()] if "trainable_percent" in table else table.iloc[:0]
    ranked = headline(table)
    name, title = _HEADLINES[ranked]
    figures = {name: _bars(table, [_Panel(ranked, title, _QUALITY, "{:.3f}")], "group")}
    quality = ("accuracy", "test accuracy") if "accuracy" in table else ("pearson", "test Pearson correlation")
    if len(trained):
        share = _Panel("trainable_percent", "trainable parameters (%, log scale)", _SHARE, "{:.3g}", True)
        figures["trainable_share"] = _bars(trained, [share])
        figures["overview"] = _bars(
            trained,
            [
                _Panel(*quality, _QUALITY, "{:.3f}"),
                _Panel("train_loss", "mean train loss", _COST, "{:.3f}"),
                _Panel("trainable_params", "trainable parameters (log scale)", _SHARE, "{:,.0f}", True),
            ],
        )
        panels = []
        if memory in trained:
            panels.append(_Panel(memory, memory_title, _COST, "{:,.0f}"))
        if "train_seconds" in trained:
            once = trained["cache_seconds"].fillna(0) if "cache_seconds" in trained else 0
            trained = trained.assign(seconds=trained["train_seconds"] + once)
            panels.append(_Panel("seconds", "training time (s), frozen layers' once included", _COST, "{:,.0f}"))
        if panels:
            figures["cost"] = _bars(trained, panels, below="setting")
    return figures


def _bars(table: pd.DataFrame, panels: Sequence[_Panel], letters: str = "", below: str = "") -> Figure:
    """Horizontal bars, one panel a column; a whisker where the table has the measure's interval.

    Args:
        letters: Column whose texts, where the table has it, stand behind the figures.
        below: Column whose texts, where the table has it, stand below the names.
    """
    names = [textwrap.fill(name, _NAME_WIDTH) for name in label_rows(table)]
    if below in table:
        more = [textwrap.fill(text, _NAME_WIDTH) for text in table[below]]
        names = [f"{name}\n{text}".rstrip() for name, text in zip(names, more, strict=True)]
    lettering = find_lettering(names)
    names, places = list(map(lettering.spell, names)), range(len(names))
    room = max(0.42, 0.18 * max(name.count("\n") + 1 for name in names))  # inches a row
    figure = Figure(figsize=(3.2 + 3.4 * len(panels), 1.1 + room * len(table)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        values = table[panel.column].astype(float)
        axes.barh(places, values, color=panel.color, log=panel.logarithmic)
        explained, ends = [panel.title], values
        if (low := f"{panel.column}_low") in table:
            high = table[f"{panel.column}_high"]
            axes.errorbar(
                values, places, xerr=[values - table[low], high - values], fmt="none", ecolor="black", elinewidth=1, capsize=3
            )
            explained.append("whisker: 95 % interval")
            ends = high.fillna(values)
        behind = table[letters] if letters in table else [""] * len(table)
        for place, value, end, more in zip(places, values, ends, behind, strict=True):
            figure_and_letters = f"{panel.form.format(value)} {more}".rstrip()
            if not pd.isna(value):
                axes.annotate(figure_and_letters, (end, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
        if any(behind):
            explained.append("same letter: no difference shown")
        axes.set_title("\n".join(explained), fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        _leave_room(axes, ends, panel.logarithmic)
    all_axes[0].set_ylim(len(names) - 0.4, -0.6)  # the first row on top, and no room beyond
    all_axes[0].set_yticks(places, names, fontfamily=list(lettering.families), parse_math=False)
    return figure


def _leave_room(axes: Axes, values: pd.Series, logarithmic: bool) -> None:
    """Room for the figures behind the bars; the axis begins at zero where it can, so lengths may be compared."""
    positive = values[values > 0]
    if logarithmic and len(positive):
        axes.set_xlim(positive.min() / 3, positive.max() * 12)
    elif len(positive):
        axes.set_xlim(0, positive.max() * 1.25)
