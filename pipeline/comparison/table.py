"""The results table: a row per strategy and arguments, averaged over seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from pipeline.comparison.comparability import (
    QUALITY,
    TRANSFERRED,
    count_seeds,
    describe_settings,
    list_predict_settings,
    precision_of,
    spread,
    spread_columns,
    tell_predict_settings_apart,
    tell_settings_apart,
    worst_column,
)
from pipeline.comparison.ranking import COLUMN, choose_ranking, headline
from pipeline.comparison.selection import describe_tuning, limit_of_train
from pipeline.comparison.statistics import Statistics
from pipeline.config.fields import as_dict
from pipeline.config.imbalance import ImbalanceConfig
from pipeline.data.long_texts import HEAD, WINDOWS
from pipeline.data.token_losses import TEXTS_CUT, TOKENS_CUT, UNKNOWN
from pipeline.errors import printable
from pipeline.evaluation.metric import Metric, list_metrics, resampled
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.multi_label import AT_HALF
from pipeline.objectives.base import takes_pooling
from pipeline.tracking.run_kinds import (
    count_processes,
    describe_arguments,
    group_by_row,
    label_type_of,
    learning_rate,
    row_key,
    trains_no_encoder,
    was_trained_here,
)
from pipeline.tracking.run_options import option_of, reading_of, say_option
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

# Column -> metric of what it costs to use a model, as it was saved and with its adapters merged.
ANSWERING = {
    f"{prefix}{name}": f"cost/{prefix}{name}"
    for prefix in ("", "merged_")
    for name in (
        *("latency_ms_median", "latency_ms_low", "latency_ms_high", "latency_ms_p99"),
        "predict_examples_per_second",
    )
} | {name: f"cost/{name}" for name in ("predict_peak_cuda_mb", "predict_peak_rss_mb", "predict_disk_mb", "merged_disk_mb")}
_EXTREMES = {"latency_ms_low": "min", "latency_ms_high": "max"}  # of several seeds; all else are means

# Column -> metric, in the order of the table.
MEASURES = {
    "trainable_percent": "model/trainable_percent",
    **{metric.name: f"test/{metric.name}" for metric in list_metrics()},
    **{f"transfer_{metric.name}": f"transfer/{metric.name}" for metric in TRANSFERRED},
    AT_HALF: f"test/{AT_HALF}",
    "ece": "test/ece",
    "overlap_leaking": "data/overlap_train_test_leaking",
    "overlap_normalised": "data/overlap_train_test_normalised",
    "overlap_either_text": "data/overlap_train_test_either_text",
    "overlap_pair": "data/overlap_train_test_pair",
    "texts_cut_percent": TEXTS_CUT,
    "tokens_cut_percent": TOKENS_CUT,
    "unknown_tokens_percent": UNKNOWN,
    "train_loss": "train/loss_mean",
    "train_seconds": "cost/train_seconds",
    "cache_seconds": "cost/cache_seconds",
    "peak_cuda_mb": "cost/peak_cuda_mb",
    "peak_rss_mb": "cost/peak_rss_mb",
    "artifact_mb": "cost/artifact_mb",
    **ANSWERING,
    "trainable_params": "model/trainable_params",
    "total_params": "model/total_params",
}

_OF_A_SETTING = ("train_seconds", "cache_seconds", "peak_cuda_mb", "peak_rss_mb")
_OF_A_PREDICT_SETTING = tuple(name for name in ANSWERING if not name.endswith("disk_mb"))

_LOSSES = ("texts_cut_percent", "tokens_cut_percent", "unknown_tokens_percent")
_WORTH_SHOWING = 1.0  # percent of what is lost

# Parameters that a row has as columns of that name.
_CHOICES = (
    "model",
    "train_size",
    "epoch_size",
    "max_train_samples",
    "epochs",
    "batch_size",
    "dropout",
    "max_length",
    "long_texts",
    "window_overlap",
    "optimizer",
    "weight_decay",
    "warmup_ratio",
    "lr_scheduler_type",
)
_UNLESS_LOGGED = {"optimizer": "adamw", "lr_scheduler_type": "linear"}  # older than the options, or not said otherwise
# The same of what says how much errors count; empty where it has its default.
_COUNTING = as_dict(ImbalanceConfig())
_ALL = "all"  # examples, where their number was not bounded


_OF_RARE_CLASSES = frozenset(metric.name for metric in list_metrics() if metric.is_for_rare_classes)

# Column -> heading and format on a terminal and in Markdown; the CSV file holds all columns in full. Metrics stand between.
_SETTINGS = {
    "entry": ("entry", "{}"),
    "strategy": ("strategy", "{}"),
    "objective": ("objective", "{}"),
    "pooling": ("pooling", "{}"),
    "changed_arguments": ("arguments", "{}"),
    "learning_rate": ("rate", "{}"),
    "model": ("model", "{}"),
    "train_size": ("labelled texts", "{}"),
    "epoch_size": ("texts an epoch", "{}"),
    "max_train_samples": ("trained on", "{}"),
    "epochs": ("epochs", "{}"),
    "dropout": ("dropout", "{}"),
    "max_length": ("length", "{}"),
    "long_texts": ("long texts", "{}"),
    "window_overlap": ("overlap", "{}"),
    "optimizer": ("optimizer", "{}"),
    "weight_decay": ("decay", "{}"),
    "warmup_ratio": ("warm-up", "{}"),
    "lr_scheduler_type": ("schedule", "{}"),
    **{name: (name.replace("_", " "), "{}") for name in _COUNTING},
    "trainable_percent": ("trainable %", "{:.4g}"),
}
_BESIDE = {
    AT_HALF: ("F1 at 0.5", F1.form),
    "group": ("group", "{}"),
    "learned": ("learned", "{}"),
}
_COSTS = {
    "texts_cut_percent": ("texts cut %", "{:.1f}"),
    "tokens_cut_percent": ("tokens cut %", "{:.1f}"),
    "unknown_tokens_percent": ("unknown tokens %", "{:.1f}"),
    "train_loss": ("train loss", "{:.4f}"),
    "setting": ("setting", "{}"),
    "train_seconds": ("train s", "{:.1f}"),
    "cache_seconds": ("cache s", "{:.1f}"),
    "peak_cuda_mb": ("CUDA MB", "{:.0f}"),
    "peak_rss_mb": ("RSS MB", "{:.0f}"),
    "artifact_mb": ("artifact MB", "{:.2f}"),
    "predict_setting": ("measured on", "{}"),
    "latency_ms_median": ("ms a text (p99)", "{:.2f} ({latency_ms_p99:.2f})"),
    "merged_latency_ms_median": ("merged ms (p99)", "{:.2f} ({merged_latency_ms_p99:.2f})"),
    "predict_examples_per_second": ("texts/s", "{:,.0f}"),
    "seeds": ("seeds", "{}"),
    "tuned": ("tuned", "{}"),
}
_TEXTS = frozenset(
    {
        *("entry", "strategy", "objective", "pooling", "changed_arguments", "model", "long_texts", "group", "learned"),
        *("setting", "predict_setting", "tuned"),
    }
    | _UNLESS_LOGGED.keys()
)

MOST_LETTERS = 6
"""Of a row's group are shown."""
_USUAL_OBJECTIVE = "classification"


def _shown(ranks: Metric) -> dict[str, tuple[str, str]]:
    """All columns; the metric that ranks has the worst of several seeds and the interval beside it."""
    shown = dict(_SETTINGS)
    for metric in list_metrics():
        shown[metric.name] = (metric.label, metric.form)
        if metric.name == ranks.name:
            shown[worst_column(metric.name)] = ("lowest" if metric.greater_is_better else "highest", metric.form)
            shown[f"{metric.name}_low"] = ("95 % interval", f"{{:.3f}} to {{{metric.name}_high:.3f}}")
    transferred = ranks if ranks in TRANSFERRED else F1
    shown |= {**_BESIDE, f"transfer_{transferred.name}": (f"transfer {transferred.short}", transferred.form)}
    return shown | _COSTS


def build_table(
    runs: Sequence[Run], failed: Sequence[Run] = (), ranked: bool = True, ranking_metric: str | None = None
) -> pd.DataFrame:
    """A row per strategy and arguments, the best first by the metric that ranks them.

    In order of their names if they are not to be ranked.

    Measures are means over the runs that differ in their seed only; a run with other hyperparameters has its own row. The
    test scores have their standard deviation and minimum beside them. Times and memory of runs that were not trained in one
    setting have no mean. A measure that no run has (CUDA memory on a CPU) is no column, and neither is the objective where all
    have the usual one.

    Args:
        failed: Runs that failed; a row counts those which differ from its own in their seed only.
        ranking_metric: By which they are ranked, a column of that name says; what ranks unless told otherwise, if not given.
    """
    groups, metric = group_by_row(runs), choose_ranking(label_type_of(runs), ranking_metric)
    frame = pd.DataFrame([_row(members, failed) for members in groups.values()])
    frame[COLUMN] = metric.name
    frame["setting"] = tell_settings_apart(groups.values())
    frame["predict_setting"] = tell_predict_settings_apart(groups.values())
    empty = [name for name in MEASURES if frame[name].isna().all()]
    empty += [column for name in QUALITY if name in empty for column in spread_columns(name)]
    if frame["objective"].isin(["", _USUAL_OBJECTIVE]).all():
        empty += ["objective", "pooling"]
    if (frame["processes"] == 1).all():
        empty.append("processes")
    empty += [
        name
        for name in (*_CHOICES, *_COUNTING, "compute_dtype", "setting", "predict_setting")
        if frame[name].isin(["", _ALL, HEAD]).all()
    ]
    for name, usual in _UNLESS_LOGGED.items():
        frame[name] = frame[name].mask((frame[name] == "") & (frame["learning_rate"] != ""), usual)
    frame = frame.drop(columns=empty)
    names = ["strategy", "arguments"]
    order = (
        frame.sort_values(metric.name, ascending=not metric.greater_is_better, kind="stable")
        if ranked
        else frame.sort_values(names, kind="stable")
    )
    return order.reset_index(drop=True)


def add_statistics(table: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """The results table with the intervals, the group and the seeds that did not learn of every row, where there are any."""
    if any(row.unlearned for row in statistics.rows):
        table = table.assign(learned=[row.learned for row in statistics.rows])
    if not statistics.known:
        return table
    table = table.copy()
    for metric in resampled(statistics.label_type):
        name, intervals = metric.name, [row.intervals.get(metric.name) for row in statistics.rows]
        if not any(intervals):  # of probabilities that not every run gives
            continue
        table[f"{name}_low"] = [interval.low if interval else np.nan for interval in intervals]
        table[f"{name}_high"] = [interval.high if interval else np.nan for interval in intervals]
    table["group"] = [row.group for row in statistics.rows]
    table["group_mark"] = [row.group_mark for row in statistics.rows]
    return table


@dataclass(frozen=True)
class Column:
    """A column as it is shown."""

    name: str
    heading: str
    cells: list[str]
    is_text: bool


def shown_columns(table: pd.DataFrame) -> list[Column]:
    """What of the table is shown: the columns that say something, their cells as text."""
    ranks = headline(table)
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]  # names of columns are strings
    return [
        Column(name, heading, [_cell(row, name, form) for row in rows], name in _TEXTS)
        for name, (heading, form) in _shown(ranks).items()
        if name in table and _says_something(name, table, ranks)
    ]


def _says_something(name: str, table: pd.DataFrame, ranks: Metric) -> bool:
    """Whether any cell is filled, and of losses worth a column.

    What all rows chose alike is no column, nor the worst score of a single seed, nor a metric of rare classes where no row
    does anything about them and they are not ranked by it.
    """
    if name in _OF_RARE_CLASSES - {ranks.name} and not any(option in table for option in _COUNTING):
        return False
    values = table[name]
    if name in _LOSSES:
        return bool((values >= _WORTH_SHOWING).any())
    if name == worst_column(ranks.name):
        return bool((table["seeds"] > 1).any())
    return values[values != ""].nunique() > 1 if name in _CHOICES else not (values == "").all()


def show_group(group: str, mark: str = "") -> str:
    """A row's letters as they are shown: of very many, which nobody can read, the first."""
    letters = split_group(group)
    return f"{''.join(letters[:MOST_LETTERS])}{'…' if len(letters) > MOST_LETTERS else ''}{mark}"


def split_group(group: str) -> list[str]:
    """The letters one by one; those beyond `z` are numbers in brackets."""
    return re.findall(r"\(\d+\)|.", group)


def render_table(table: pd.DataFrame, style: str = "simple") -> str:
    """The table as text; `github` gives Markdown."""
    columns = shown_columns(table)
    rows = list(zip(*(map(printable, column.cells) for column in columns), strict=True))
    align = ["left" if column.is_text else "right" for column in columns]
    headings = [column.heading for column in columns]
    return tabulate(rows, headings, tablefmt=style, disable_numparse=True, colalign=align)


def _cell(row: Mapping[str, Any], name: str, form: str) -> str:
    """A figure, with its standard deviation where there is one, and the number of seeds with that of those that failed."""
    if pd.isna(row[name]):
        return ""
    if name == "group":
        return show_group(row[name], row.get("group_mark", ""))
    text = form.format(row[name], **row)
    deviation = row.get(f"{name}_std")
    if deviation is not None and not pd.isna(deviation):
        return f"{text} ± {form.format(deviation)}"
    failed = row.get("failed_seeds", 0) if name == "seeds" else 0
    return f"{text} ({failed} failed)" if failed else text


def _row(members: list[Run], failed: Sequence[Run]) -> dict[str, Any]:
    first = members[0]
    objective = "" if trains_no_encoder(first) else first.params.get("objective") or _USUAL_OBJECTIVE
    values = {
        column: pd.Series([run.metrics.get(metric) for run in members], dtype=float) for column, metric in MEASURES.items()
    }
    measures = {column: series.agg(_EXTREMES.get(column.removeprefix("merged_"), "mean")) for column, series in values.items()}
    if len(describe_settings(members)) > 1:
        measures |= dict.fromkeys(_OF_A_SETTING, float("nan"))
    if len(list_predict_settings(members)) > 1:
        measures |= dict.fromkeys(_OF_A_PREDICT_SETTING, float("nan"))
    choices = {name: say_option(first, name) for name in _CHOICES}
    choices |= {name: "" if option_of(first, name) == usual else say_option(first, name) for name, usual in _COUNTING.items()}
    reading = reading_of(first)
    choices |= {"long_texts": reading.way, "window_overlap": str(reading.overlap) if reading.way == WINDOWS else ""}
    if was_trained_here(first):
        bounds = {"train_size": choices["train_size"], "max_train_samples": str(limit_of_train(first) or "")}
        choices |= {name: bound or _ALL for name, bound in bounds.items()}
    spreads = {name: value for column in QUALITY for name, value in spread(column, values[column]).items()}
    return {
        "strategy": first.tags["strategy"],
        "objective": objective,
        "pooling": say_option(first, "pooling") if takes_pooling(objective) else "",
        "entry": first.tags.get(Tag.ENTRY, ""),
        "arguments": describe_arguments(first),
        "changed_arguments": describe_arguments(first, changed_only=True),
        **measures,
        **spreads,
        "seeds": count_seeds(members),
        "failed_seeds": count_seeds(run for run in failed if row_key(run) == row_key(first)),
        "tuned": describe_tuning(first),
        "learning_rate": learning_rate(first),
        **choices,
        "compute_dtype": precision_of(first),
        "processes": count_processes(first),
        "run_ids": " ".join(run.run_id for run in members),
    }
