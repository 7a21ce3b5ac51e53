"""Pictures of a results table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.table import headline, label_rows
from pipeline.lettering import find_lettering

_HEADLINES = {"f1_macro": ("f1", "test macro F1"), "spearman": ("spearman", "test Spearman correlation")}
_NAME_WIDTH = 30
_QUALITY, _SHARE, _COST = "#3b6fb6", "#5a9e6f", "#c2773b"


def draw_all(table: pd.DataFrame) -> dict[str, Figure]:
    """File name without ending -> picture."""
    memory = "peak_cuda_mb" if "peak_cuda_mb" in table else "peak_rss_mb"
    memory_title = "peak CUDA memory (MB)" if memory == "peak_cuda_mb" else "peak resident memory (MB)"
    trained = table[table["trainable_percent"].notna()] if "trainable_percent" in table else table.iloc[:0]
    ranked = headline(table)
    name, title = _HEADLINES[ranked]
    figures = {name: _bars(table, [(ranked, title, _QUALITY, "{:.3f}", False)])}
    quality = ("accuracy", "test accuracy") if "accuracy" in table else ("pearson", "test Pearson correlation")
    if len(trained):
        figures["trainable_share"] = _bars(
            trained, [("trainable_percent", "trainable parameters (%, log scale)", _SHARE, "{:.3g}", True)]
        )
        figures["overview"] = _bars(
            trained,
            [
                (*quality, _QUALITY, "{:.3f}", False),
                ("train_loss", "mean train loss", _COST, "{:.3f}", False),
                ("trainable_params", "trainable parameters (log scale)", _SHARE, "{:,.0f}", True),
            ],
        )
        once = trained["cache_seconds"].fillna(0) if "cache_seconds" in trained else 0
        figures["cost"] = _bars(
            trained.assign(seconds=trained["train_seconds"] + once),
            [
                (memory, memory_title, _COST, "{:,.0f}", False),
                ("seconds", "training time (s), frozen layers' once included", _COST, "{:,.0f}", False),
            ],
        )
    return figures


def _bars(table: pd.DataFrame, panels: Sequence[tuple[str, str, str, str, bool]]) -> Figure:
    """Horizontal bars, one panel a column: (column, title, colour, format of the figures, logarithmic)."""
    names = [textwrap.fill(name, _NAME_WIDTH) for name in label_rows(table)]
    lettering = find_lettering(names)
    names, places = list(map(lettering.spell, names)), range(len(names))
    figure = Figure(figsize=(3.2 + 3.4 * len(panels), 1.1 + 0.42 * len(table)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (column, title, color, form, logarithmic) in zip(all_axes, panels, strict=True):
        values = table[column].astype(float)
        bars = axes.barh(places, values, color=color, log=logarithmic)
        axes.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=9)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        _leave_room(axes, values, logarithmic)
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
