"""How much a row's score depends on the learning rate, by the trials of the search that chose its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from pipeline.comparison.plots import DASHES, LIGHT, LONGEST_NAME, color_number, dash_number, marker_of
from pipeline.comparison.ranking import headline
from pipeline.comparison.row_names import label_rows
from pipeline.errors import shorten
from pipeline.evaluation.metric import list_metrics, lower_is_better, selecting
from pipeline.fonts import find_fonts
from pipeline.tracking.run_kinds import is_trial
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

_TITLES = {metric.name: metric.title for metric in list_metrics()}
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


def read_rates(table: pd.DataFrame, runs: Sequence[Run], recorded: Sequence[Run]) -> list[Sensitivity]:
    """Of each row of the table that was searched over several rates, in its order.

    Args:
        runs: All runs of the table.
        recorded: All that the store has, trials among them.
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
    fonts = find_fonts(names)
    font = {"family": list(fonts.families), "size": 9}
    places = list(map(str, range(len(rows))))  # matplotlib would leave out a name that begins with `_`
    legend = figure.legend(handles, places, loc="outside right upper", frameon=False, prop=font)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(fonts.spell(name))
    return figure
