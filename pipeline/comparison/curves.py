"""How validation went on while each row trained: where it stops rising, training longer only fits the train part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.rows import was_trained_here
from pipeline.comparison.table import headline, label_rows
from pipeline.lettering import find_lettering
from pipeline.tracking.runs import Run, RunStore

_TITLES = {
    "accuracy": "validation accuracy",
    "spearman": "validation Spearman correlation",
    "loss": "validation loss",
}
_DASHES = ("-", "--", ":", "-.")
_COLORS = 10  # of matplotlib's palette; beyond, the dashes change
Points = Mapping[float, float]


@dataclass(frozen=True)
class Curve:
    """One row of the table over the epochs: metric -> epoch -> mean over its seeds."""

    name: str
    points: Mapping[str, Points]
    kept: float | None
    """Epoch of the checkpoint that was kept; None where seeds kept different ones."""


def read_curves(table: pd.DataFrame, store: RunStore) -> list[Curve]:
    """A curve per row of the table, in its order; rows that were not trained here have none."""
    curves = []
    quality = "spearman" if headline(table) == "spearman" else "accuracy"
    for name, run_ids in zip(label_rows(table), table["run_ids"], strict=True):
        runs = [run for run_id in run_ids.split() if was_trained_here(run := store.get(run_id))]
        found = {metric: [_history(store, run, metric) for run in runs] for metric in (quality, "loss")}
        if runs and all(found[quality]):
            kept = {_kept_epoch(store, run) for run in runs}
            points = {metric: _mean(histories) for metric, histories in found.items()}
            curves.append(Curve(name, points, kept.pop() if len(kept) == 1 else None))
    return curves


def draw_curves(curves: Sequence[Curve]) -> Figure:
    """Validation accuracy, or of scores Spearman's correlation, and loss by epoch, a line a row.

    A ring marks the checkpoint that was kept.
    """
    figure = Figure(figsize=(11, 4.4 + 0.12 * len(curves)), layout="constrained")
    metrics = list(curves[0].points)
    all_axes = figure.subplots(1, len(metrics))
    for axes, metric in zip(all_axes, metrics, strict=True):
        for number, curve in enumerate(curves):
            _draw(axes, curve, metric, number)
        axes.set_title(_TITLES[metric], fontsize=10)
        axes.set_xlabel("epochs")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    handles, labels = all_axes[0].get_legend_handles_labels()
    lettering = find_lettering(labels)
    font = {"family": list(lettering.families), "size": 9}
    figure.legend(handles, list(map(lettering.spell, labels)), loc="outside right upper", frameon=False, prop=font)
    return figure


def _draw(axes: Axes, curve: Curve, metric: str, number: int) -> None:
    points = curve.points[metric]
    color = matplotlib.color_sequences["tab10"][number % _COLORS]
    dashes = _DASHES[number // _COLORS % len(_DASHES)]
    axes.plot(list(points), list(points.values()), dashes, color=color, marker=".", linewidth=1.4, label=curve.name)
    if curve.kept is not None and curve.kept in points:
        axes.plot(curve.kept, points[curve.kept], "o", markersize=9, markerfacecolor="none", color=color)


def _mean(histories: Sequence[Points]) -> Points:
    """Epoch -> mean over the runs that were evaluated there; one that stopped early counts no more."""
    epochs = sorted({epoch for history in histories for epoch in history})
    return {epoch: float(np.mean([history[epoch] for history in histories if epoch in history])) for epoch in epochs}


def _history(store: RunStore, run: Run, metric: str) -> Points:
    """Epoch -> value at each evaluation.

    The kept checkpoint's values stand once more at the last step, as the run's latest: where a step has two values, the
    other one was measured there.
    """
    latest = run.metrics.get(f"val/{metric}")
    values: dict[int, float] = {}
    for step, value in store.history(run.run_id, f"val/{metric}"):
        if step not in values or values[step] == latest:
            values[step] = value
    steps = run.metrics.get("train/steps_per_epoch") or _guess_steps(run, values)
    return {round(step / steps, 6): value for step, value in values.items()}


def _guess_steps(run: Run, steps: Mapping[int, float]) -> float:
    """Steps of an epoch, for a run from before they were recorded, if it did not stop early."""
    return max(steps, default=1) / float(run.params.get("epochs", 1))


def _kept_epoch(store: RunStore, run: Run) -> float | None:
    metric = run.params.get("metric_for_best_model", "accuracy")
    history = _history(store, run, metric)
    best = (min if metric == "loss" else max)(history.values(), default=None)
    return next((epoch for epoch, value in history.items() if value == best), None)
