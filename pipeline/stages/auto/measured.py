"""Advice by what was measured: the nearest study in the tracking store, or the table that comes with this project.

Validation scores alone decide; those of test data are never looked at.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pipeline.config import FitConfig
from pipeline.config.fields import parse_arguments
from pipeline.errors import RunError
from pipeline.evaluation.metric import Metric
from pipeline.json_text import parse_json
from pipeline.stages.auto.advice import Advice
from pipeline.stages.study.tags import reused_by
from pipeline.tracking.run_kinds import group_by_row, has_test_result, is_reproduction
from pipeline.tracking.run_options import count_of, say_option
from pipeline.tracking.runs import Run, RunStore
from pipeline.tracking.tags import Tag

TABLE = Path(__file__).with_name("table.csv")
"""Made by `python -m benchmarks.auto_table`, with the sizes, seeds and data sets that it says."""
FAR = 4
"""The table says nothing of sizes that are more than so many times another than those in it."""
_SOURCE = ("dataset", "dataset_config_name", "train_file", "text_column", "label_column")
_OPTIONS = (
    *("head", "learning_rate", "epochs", "batch_size", "dropout", "weight_decay", "warmup_ratio", "optimizer"),
    *("lr_scheduler_type", "loss", "focal_gamma", "class_weights", "label_smoothing"),
)
"""Settings with which a strategy was measured, and is taken."""


@dataclass(frozen=True)
class Measured:
    """What a strategy, with its settings, scored on validation data."""

    strategy: str
    score: float
    """Mean over the seeds, and of the table over the data sets."""
    deviation: float
    """Over the seeds; 0 of a single one."""
    seeds: int
    seconds: float
    """Of one training."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def in_order(rows: Iterable[Measured]) -> list[Measured]:
    """The highest score first; of those that the spread over the seeds does not tell from it the quickest comes before it."""
    ordered = sorted(rows, key=lambda row: (-row.score, row.seconds))
    best = ordered[0]
    level = [row for row in ordered if best.score - row.score <= max(best.deviation, row.deviation)]
    first = min(level, key=lambda row: row.seconds)
    return [first, *(row for row in ordered if row is not first)]


def advise_by_study(
    store: RunStore, config: FitConfig, fingerprint: str, base_sha256: str, examples: int, metric: Metric
) -> list[Advice]:
    """What the nearest finished study of the same data found, the best first; nothing if the store holds none.

    Studies of the same prepared data come before those of the same source that was cut or cleaned otherwise. Of these those of
    the same encoder come first, then the nearest number of training examples, then the newest. A study is one `main` of at
    least two strategies, at one number of training examples.

    Args:
        fingerprint: Of the prepared data.
        base_sha256: Of the encoder's files.
    """
    finished = {run.run_id: run for run in store.search({"stage": "main"}) if run.status == "FINISHED"}
    if not finished:
        return []
    parents = {run.run_id: run.parent_id for run in store.search({"stage": "tune"})}
    source = {name: str(value) for name in _SOURCE if (value := getattr(config, name))}
    for tags, params, unlike in (
        ({"data_fingerprint": fingerprint}, {}, ""),
        ({}, source, ", cut or cleaned otherwise"),
    ):
        runs = [run for run in store.search(tags) if _is_training(run) and params.items() <= run.params.items()]
        studies = [(study, _trainings_of(study, runs, parents, store)) for study in finished.values()]
        if advice := _advise_by_nearest(studies, base_sha256, examples, metric, unlike):
            return advice
    return []


def _advise_by_nearest(
    studies: Iterable[tuple[Run, list[Run]]], base_sha256: str, examples: int, metric: Metric, unlike: str
) -> list[Advice]:
    """What the nearest of studies, given with their trainings, found; nothing if none compares strategies."""
    groups = [
        (study, size, rows)
        for study, trainings in studies
        for size, rows in _by_size(_of_one_encoder(trainings, base_sha256), metric).items()
        if len({run.tags["strategy"] for runs in rows for run in runs}) > 1
    ]
    if not groups:
        return []

    def distance(group: tuple[Run, int, list[list[Run]]]) -> tuple[bool, float, int]:
        study, size, rows = group
        same_encoder = any(run.tags.get(Tag.BASE_SHA256) == base_sha256 for runs in rows for run in runs)
        return not same_encoder, abs(math.log(size / examples)), -study.start_time

    study, size, rows = nearest = min(groups, key=distance)
    ordered = in_order([_measured(runs, metric) for runs in rows])
    unlike += ", with another encoder" * distance(nearest)[0]
    where = f"in study {study.run_id}, of the same data{unlike}, with {size:,} training examples{_compare(size, examples)}"
    return [Advice(row.strategy, _reason(row, ordered, metric, where), row.arguments, row.options) for row in ordered]


def _of_one_encoder(trainings: Sequence[Run], base_sha256: str) -> list[Run]:
    """Those of the encoder, and of none; all where none is of it."""
    if not any(run.tags.get(Tag.BASE_SHA256) == base_sha256 for run in trainings):
        return list(trainings)
    return [run for run in trainings if run.tags.get(Tag.BASE_SHA256, base_sha256) == base_sha256]


def _trainings_of(study: Run, runs: Iterable[Run], parents: Mapping[str, str | None], store: RunStore) -> list[Run]:
    """Of some trainings those of a study, also what it took from earlier ones.

    Args:
        parents: Search -> the run that it is nested in.
    """
    try:
        reused = reused_by(study, store)
    except RunError:  # somebody else wrote into the tag: `compare` says so, advice does without
        reused = {}
    return [run for run in runs if run.run_id in reused or study.run_id in (run.parent_id, parents.get(run.parent_id or ""))]


def _is_training(run: Run) -> bool:
    """Whether a run is a row's: trained with nothing left to choose, or the best trial of its search, which was tested."""
    kept = run.stage == "train" or (run.stage == "trial" and has_test_result(run))
    return kept and run.status == "FINISHED" and not is_reproduction(run)


def _by_size(trainings: Iterable[Run], metric: Metric) -> dict[int, list[list[Run]]]:
    """Number of training examples -> the rows of the study with that many."""
    sized: dict[int, list[Run]] = defaultdict(list)
    for run in trainings:
        if f"val/{metric.name}" in run.metrics and run.metrics.get("data/train_examples", 0) >= 1:
            sized[int(run.metrics["data/train_examples"])].append(run)
    return {size: list(group_by_row(runs).values()) for size, runs in sized.items()}


def _measured(runs: Sequence[Run], metric: Metric) -> Measured:
    """One row of a study."""
    scores = [run.metrics[f"val/{metric.name}"] for run in runs]
    newest = max(runs, key=lambda run: run.start_time)
    arguments = parse_json(newest.tags.get(Tag.STRATEGY_ARGS, "{}"))
    return Measured(
        newest.tags["strategy"],
        fmean(scores),
        stdev(scores) if len(scores) > 1 else 0.0,
        len(scores),
        fmean(run.metrics.get("cost/train_seconds", math.inf) for run in runs),
        arguments if isinstance(arguments, dict) else {},
        {**{name: text for name in _OPTIONS if (text := say_option(newest, name))}, **_passes(newest)},
    )


def _passes(run: Run) -> dict[str, str]:
    """Epochs of one pass each that take as many steps, where an epoch of a run was several passes over few texts."""
    size, texts = count_of(run, "epoch_size"), run.metrics.get("data/train_examples", 0)
    if not size or texts < 1:
        return {}
    return {"epochs": str(round((count_of(run, "epochs") or 1) * size / texts))}


@cache
def read_table() -> tuple[Mapping[str, str], ...]:
    """The rows of the table that comes with this project."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def advise_by_table(examples: int, metric: Metric, rows: Sequence[Mapping[str, str]] = ()) -> list[Advice]:
    """What the table says of the nearest number of training examples, the best on average over its data sets first.

    Nothing if it measures another metric, or only numbers of examples that are `FAR` from this one.

    Args:
        rows: Of a table; those of the project's if not given.
    """
    rows = rows or read_table()
    if not rows or metric.name not in rows[0]:
        return []
    size = min({int(row["train_size"]) for row in rows}, key=lambda size: abs(math.log(size / examples)))
    if max(size / examples, examples / size) > FAR:
        return []
    by_strategy: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        if int(row["train_size"]) == size:
            by_strategy[row["strategy"]].append(row)
    data_sets = list(dict.fromkeys(row["data_set"] for row in rows if int(row["train_size"]) == size))
    complete = [of_one for of_one in by_strategy.values() if len(of_one) == len(data_sets)]
    ordered = in_order([_averaged(of_one, metric) for of_one in complete])
    where = (
        f"in the table of this project, of other data ({', '.join(data_sets)}; {rows[0]['model']}), with {size:,} training "
        f"examples{_compare(size, examples)}"
    )
    return [Advice(row.strategy, _reason(row, ordered, metric, where), row.arguments, row.options) for row in ordered]


def _averaged(rows: Sequence[Mapping[str, str]], metric: Metric) -> Measured:
    """One strategy over the data sets; the spread is that of such a mean over the seeds."""
    deviations = [float(row[f"{metric.name}_sd"] or 0) for row in rows]
    return Measured(
        rows[0]["strategy"],
        fmean(float(row[metric.name]) for row in rows),
        math.hypot(*deviations) / len(rows),
        min(int(row["seeds"]) for row in rows),
        fmean(float(row["seconds"]) for row in rows),
        dict(parse_arguments(rows[0]["strategy_args"])),  # type: ignore[call-overload]
        {name: rows[0][name] for name in _OPTIONS if rows[0].get(name)},
    )


def _reason(row: Measured, ordered: Sequence[Measured], metric: Metric, where: str) -> str:
    """Which score a strategy had, on what that rests, and why it was taken if it was not the best."""
    best = max(ordered, key=lambda other: other.score)
    seeds = f"{row.seeds} seed{'' if row.seeds == 1 else 's'}"
    scored = f"validation {metric.label} of {row.score:.3f} ({seeds})"
    if row is best:
        said = f"best of {len(ordered)} strategies by its {scored}"
    elif row is ordered[0]:
        said = f"quicker than {best.strategy} ({best.score:.3f}), from which its {scored} is not told by the spread over seeds"
    else:
        said = f"best of those that work here by its {scored}"
    return f"{said}, {where}"


def _compare(size: int, examples: int) -> str:
    """How far a number of examples is from the number here, to follow it."""
    if size == examples:
        return ", as here"
    ratio = max(size / examples, examples / size)
    return f" ({examples:,} here, {ratio:.3g} times as {'many' if examples > size else 'few'})"
