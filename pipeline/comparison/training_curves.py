"""Validation scores of each row as lines: during training, and against the learning rates of its search's trials.

Where a training curve stops rising, more training only overfits.
"""

from __future__ import annotations

import contextlib
import math
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
from pipeline.errors import RunError, shorten
from pipeline.evaluation.metric import LOSS, list_metrics, lower_is_better, selecting
from pipeline.fonts import find_fonts
from pipeline.tracking.run_kinds import is_trial, was_trained_here
from pipeline.tracking.run_options import count_of
from pipeline.tracking.runs import Run, RunStore
from pipeline.tracking.tags import Tag

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
    _name_lines(figure, handles, names)
    return figure


def _name_lines(figure: Figure, handles: Sequence[Line2D], names: Sequence[str]) -> None:
    """A legend beside the axes."""
    fonts = find_fonts(names)
    font = {"family": list(fonts.families), "size": 9}
    # Numbers first: matplotlib would leave out a name that begins with `_`, and take `$x$` for a formula.
    places = list(map(str, range(len(handles))))
    legend = figure.legend(handles, places, loc="outside right upper", frameon=False, prop=font)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(fonts.spell(name))


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
    return max(steps, default=1) / (count_of(run, "epochs") or 1)


def _kept_epoch(history: Points, metric: str) -> float | None:
    best = (min if lower_is_better(metric) else max)(history.values(), default=None)
    return next((epoch for epoch, value in history.items() if value == best), None)


_BINS = 4
"""Stretches of a decade of rates in each of which the best trial stands on the line."""
_FEWEST = 2
"""Rates of which a line can be drawn."""


@dataclass(frozen=True)
class Sensitivity:
    """Scores of one row's trials against their learning rates."""

    name: str
    row: int
    """Number in the table, which colour and mark follow in every picture."""
    metric: str
    points: tuple[tuple[float, float], ...]
    """Rate and score of every trial, ascending by rate."""

    @property
    def best(self) -> list[tuple[float, float]]:
        """The best trial of each quarter of a decade."""
        better = min if lower_is_better(self.metric) else max
        stretches: dict[int, list[tuple[float, float]]] = {}
        for rate, score in self.points:
            stretches.setdefault(math.floor(_BINS * math.log10(rate)), []).append((rate, score))
        return [better(stretch, key=lambda point: point[1]) for stretch in stretches.values()]


def find_trials(runs: Sequence[Run], store: RunStore) -> list[Run]:
    """The trials of the searches that chose the runs' settings; none of a search whose run was deleted."""
    trials: list[Run] = []
    for search_run in dict.fromkeys(run.tags.get(Tag.TUNED_BY, "") for run in runs):
        with contextlib.suppress(RunError):
            if search_run and (search := store.get(search_run).tags.get(Tag.SEARCH)):
                trials += store.search({Tag.SEARCH: search})
    return trials


def read_rates(table: pd.DataFrame, runs: Sequence[Run], recorded: Sequence[Run]) -> list[Sensitivity]:
    """Of each row of the table that was searched over several rates, in its order.

    Args:
        runs: All runs of the table.
        recorded: Trials, as `find_trials` finds them; other runs are passed over.
    """
    metric = selecting(headline(table).of).name
    by_id = {run.run_id: run for run in runs}
    trials: dict[str, list[Run]] = {}
    for run in recorded:
        if is_trial(run) and run.status == "FINISHED" and run.parent_id:
            trials.setdefault(run.parent_id, []).append(run)
    found = []
    for row, (name, run_ids) in enumerate(zip(label_rows(table), table["run_ids"], strict=True)):
        searches = dict.fromkeys(by_id[run_id].tags.get(Tag.TUNED_BY, "") for run_id in run_ids.split() if run_id in by_id)
        mine = [point for search in searches for run in trials.get(search, []) if (point := _read(run, metric))]
        if len({rate for rate, _ in mine}) >= _FEWEST:
            found.append(Sensitivity(name, row, metric, tuple(sorted(mine))))
    return found


def _read(run: Run, metric: str) -> tuple[float, float] | None:
    """Rate and score of a trial; None where it has not both, or they are no numbers to draw."""
    try:
        rate, score = float(run.params.get("learning_rate", "")), run.metrics.get(f"val/{metric}", math.nan)
    except ValueError:  # by somebody else, or of a solver without a rate
        return None
    return (rate, score) if 0 < rate < math.inf and math.isfinite(score) else None


def draw_rates(rows: Sequence[Sensitivity]) -> Figure:
    """The validation score of every trial against its learning rate, and a line a row through the best of them."""
    figure = Figure(figsize=(9, 4.4 + 0.12 * len(rows)), layout="constrained")
    axes = figure.subplots()
    handles = []
    for row in rows:
        color, marker, dashes = LIGHT[color_number(row.row)], marker_of(row.row), DASHES[dash_number(row.row)]
        axes.plot(*zip(*row.points, strict=True), marker, color=color, markersize=4, alpha=0.35, linestyle="none")
        [line] = axes.plot(*zip(*row.best, strict=True), color=color, marker=marker, markersize=5, linewidth=1.4)
        if dashes:
            line.set_dashes(dashes)
        handles.append(line)
    metric = rows[0].metric
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(f"validation {_TITLES.get(metric, metric)}")
    axes.set_title("Score by learning rate: trials, and the best of each quarter of a decade", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    names = [shorten(row.name, LONGEST_NAME) for row in rows]
    _name_lines(figure, handles, names)
    return figure
