"""Training curves: the validation metric of each row during training. Where it stops rising, more training only overfits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.comparison.plots import DASHES, LIGHT, LONGEST_NAME, color_number, dash_number, marker_of
from pipeline.comparison.ranking import headline
from pipeline.comparison.row_names import label_rows
from pipeline.errors import shorten
from pipeline.evaluation.metric import LOSS, list_metrics, lower_is_better, selecting
from pipeline.fonts import find_fonts
from pipeline.tracking.run_kinds import was_trained_here
from pipeline.tracking.runs import Run, RunStore

_TITLES = {metric.name: metric.title for metric in list_metrics()}
_LARGEST = 1e300  # MLflow keeps an infinite value as the largest number there is
Points = Mapping[float, float]


@dataclass(frozen=True)
class Curve:
    """One row of the table over the epochs: metric -> epoch -> mean over its seeds."""

    name: str
    points: Mapping[str, Points]
    kept: float | None
    """Epoch of the checkpoint that was kept; None where seeds kept different ones."""
    row: int = 0
    """Number in the table, which colour and mark follow in every picture."""


def read_curves(table: pd.DataFrame, runs: Sequence[Run], store: RunStore) -> list[Curve]:
    """A curve per row of the table, in its order; rows that were not trained here have none.

    Args:
        runs: All runs of the table.
    """
    curves = []
    quality = selecting(headline(table).of).name
    trained = {run.run_id: run for run in runs if was_trained_here(run)}
    chosen_by = {run_id: run.params.get("metric_for_best_model", selecting("class").name) for run_id, run in trained.items()}
    recorded = {
        metric: store.read_histories(list(trained), f"val/{metric}")
        for metric in dict.fromkeys((quality, LOSS, *chosen_by.values()))
    }
    for row, (name, run_ids) in enumerate(zip(label_rows(table), table["run_ids"], strict=True)):
        mine = [trained[run_id] for run_id in run_ids.split() if run_id in trained]
        by_metric = {metric: [_history(recorded, run, metric) for run in mine] for metric in (quality, LOSS)}
        if mine and all(by_metric[quality]):
            kept = {_kept_epoch(_history(recorded, run, chosen_by[run.run_id]), chosen_by[run.run_id]) for run in mine}
            points = {metric: _mean(histories) for metric, histories in by_metric.items()}
            curves.append(Curve(name, points, kept.pop() if len(kept) == 1 else None, row))
    return curves


def draw_curves(curves: Sequence[Curve], apart: Collection[int] = ()) -> Figure:
    """The validation metric by which checkpoints are chosen, and the loss by epoch, a line a row.

    A ring marks the checkpoint that was kept.

    Args:
        apart: Numbers of rows that did not learn. They leave the axes to the others.
    """
    figure = Figure(figsize=(11, 4.4 + 0.12 * len(curves)), layout="constrained")
    metrics = list(curves[0].points)
    all_axes = figure.subplots(1, len(metrics))
    for axes, metric in zip(all_axes, metrics, strict=True):
        handles = [_draw(axes, curve, metric, curve.row in apart) for curve in curves]
        shown = [value for curve in curves if curve.row not in apart for value in curve.points[metric].values()]
        if shown and len(shown) < sum(len(curve.points[metric]) for curve in curves):
            room = 0.06 * (max(shown) - min(shown)) or 0.02
            axes.set_ylim(min(shown) - room, max(shown) + room)
        if max((epoch for curve in curves for epoch in curve.points[metric]), default=0) >= 1:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"validation {_TITLES.get(metric, metric)}", fontsize=10)
        axes.set_xlabel("epochs")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    names = [shorten(curve.name, LONGEST_NAME) + (" (did not learn)" if curve.row in apart else "") for curve in curves]
    fonts = find_fonts(names)
    font = {"family": list(fonts.families), "size": 9}
    # Numbers first: matplotlib would leave out a name that begins with `_`, and take `$x$` for a formula.
    places = list(map(str, range(len(curves))))
    legend = figure.legend(handles, places, loc="outside right upper", frameon=False, prop=font)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(fonts.spell(name))
    return figure


def _draw(axes: Axes, curve: Curve, metric: str, apart: bool) -> Line2D:
    """The line that was drawn."""
    points = curve.points[metric]
    color, marker = LIGHT[color_number(curve.row)], "x" if apart else marker_of(curve.row)
    dashes = DASHES[dash_number(curve.row)]
    [line] = axes.plot(list(points), list(points.values()), color=color, marker=marker, markersize=4.5, linewidth=1.4)
    if dashes:
        line.set_dashes(dashes)
    if curve.kept is not None and curve.kept in points:
        axes.plot(curve.kept, points[curve.kept], "o", markersize=10, markerfacecolor="none", color=color)
    return line


def _mean(histories: Sequence[Points]) -> Points:
    """Epoch -> mean over the runs that were evaluated there; one that stopped early counts no more."""
    epochs = sorted({epoch for history in histories for epoch in history})
    return {epoch: float(np.mean([history[epoch] for history in histories if epoch in history])) for epoch in epochs}


def _history(recorded: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], run: Run, metric: str) -> Points:
    """Epoch -> value at each evaluation, of what is recorded by metric and run.

    The kept checkpoint's values stand once more at the last step, as the run's latest: where a step has two values, the
    other one was measured there.
    """
    latest = run.metrics.get(f"val/{metric}")
    values: dict[int, float] = {}
    for step, value in recorded[metric][run.run_id]:
        if not abs(value) < _LARGEST:  # of a training that diverged; nor is NaN
            continue
        if step not in values or values[step] == latest:
            values[step] = value
    steps = run.metrics.get("train/steps_per_epoch") or _guess_steps(run, values)
    return {round(step / steps, 6): value for step, value in values.items()}


def _guess_steps(run: Run, steps: Mapping[int, float]) -> float:
    """Steps of an epoch, for a run from before they were recorded, if it did not stop early."""
    return max(steps, default=1) / float(run.params.get("epochs", 1))


def _kept_epoch(history: Points, metric: str) -> float | None:
    best = (min if lower_is_better(metric) else max)(history.values(), default=None)
    return next((epoch for epoch, value in history.items() if value == best), None)
