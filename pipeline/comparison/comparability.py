"""Whether rows are comparable: spread over seeds, failed and missing seeds, and hardware that differs between rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from pipeline.comparison.selection import Selection
from pipeline.errors import enumerate_some
from pipeline.evaluation.metric import list_metrics, lower_is_better
from pipeline.tracking.run_kinds import (
    count_at_once,
    count_processes,
    group_by_row,
    name_with_model,
    name_with_size,
    row_key,
    row_name,
    trains_no_encoder,
    was_trained_here,
)
from pipeline.tracking.run_options import logged_option, option_of, say_option, seeds_of
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag
from pipeline.training.precision import PRECISIONS

TRANSFERRED = tuple(metric for metric in list_metrics("class") if metric.is_prominent)
"""Metrics that the table has of other data, too."""
QUALITY = (*(metric.name for metric in list_metrics()), *(f"transfer_{metric.name}" for metric in TRANSFERRED))
"""Columns whose spread over seeds is shown."""


def count_seeds(runs: Iterable[Run]) -> int:
    """How many different seeds the runs were made with."""
    return len({seeds_of(run) for run in runs})


def spread(column: str, values: pd.Series) -> dict[str, float]:
    """The values of `spread_columns`: sample standard deviation (none of a single value), minimum, maximum."""
    return dict(
        zip(spread_columns(column), (float(values.std(ddof=1)), float(values.min()), float(values.max())), strict=False)
    )


def spread_columns(column: str) -> tuple[str, ...]:
    """What stands beside a score of several seeds, its worst value last."""
    return (f"{column}_std", f"{column}_min", *([f"{column}_max"] if lower_is_better(column) else []))


def worst_column(column: str) -> str:
    """Where the worst of several seeds stands."""
    return spread_columns(column)[-1]


def describe_failures(selection: Selection) -> Iterator[str]:
    """A line for every row of the table that lacks seeds because they failed."""
    for key, failed in group_by_row(selection.failed).items():
        there = [run for run in selection.kept if row_key(run) == key]
        if there:
            named = ", ".join(sorted({run.params.get("seed", "?") for run in failed}, key=_numeric))
            count = count_seeds(failed)
            share = f"{count} of {count + count_seeds(there)} seeds failed ({named})"
            yield f"{row_name(failed[0])}: {share}. Means exclude failed seeds and may be optimistic."


def describe_missing(
    planned: Mapping[str, Sequence[int]], runs: Iterable[Run], also: Mapping[str, Sequence[str]] | None = None
) -> Iterator[str]:
    """A phrase for every row of a study's plan that has seeds which were never begun.

    Args:
        planned: Name of a row -> its seeds.
        runs: All trainings of the study, finished or not.
        also: Id of a run -> other entries of which it is the training, too.
    """
    begun = {
        (name, logged_option(run, "seed"))
        for run in runs
        for title in (row_name(run), *(also or {}).get(run.run_id, ()))
        for name in _names(run, title)
    }
    for name, seeds in planned.items():
        missing = [seed for seed in seeds if (name, seed) not in begun]
        if missing:
            listed = f"seed{'s' if len(missing) > 1 else ''} {enumerate_some(list(map(str, missing)), 10)}"
            whole = "" if len(seeds) == 1 else f"(all {len(seeds)} seeds)"
            yield f"{name} {whole if len(missing) == len(seeds) else listed}".rstrip()


def in_planned_order(planned: Sequence[str], runs: Iterable[Run]) -> tuple[Run, ...]:
    """The runs of a study by the names of its rows, in its order, and by seed; which of them was the first does not count.

    A row that the plan does not name comes last.
    """
    places = {name: place for place, name in enumerate(planned)}

    def place(run: Run) -> tuple[int, tuple[int, str]]:
        return min(places.get(name, len(places)) for name in _names(run, row_name(run))), _numeric(say_option(run, "seed"))

    return tuple(sorted(runs, key=place))


def _names(run: Run, title: str) -> list[str]:
    """What a study may have called the row of an entry: with the model, the number of texts, or both, where it had several."""
    names = [title, name_with_model(title, run.params.get("model", ""))]
    return names + [name_with_size(name, logged_option(run, "train_size")) for name in names]


def describe_unequal_seeds(selection: Selection) -> Iterator[str]:
    """That rows are of different seeds, where they are: their means are then not over the same draws."""
    trained = [run for run in selection.kept if "seed" in run.params]  # a model from elsewhere has none
    seeds = {frozenset(logged_option(run, "seed") for run in runs) for runs in group_by_row(trained).values()}
    if len(seeds) > 1:
        yield "The rows are not of the same seeds, so their means do not compare like with like."


def describe_mixed_times(selection: Selection) -> Iterator[str]:
    """A line for every row whose times are means over trainings that did not cost alike."""
    for runs in group_by_row(selection.kept).values():
        if len({run.tags.get(Tag.FROZEN_PREFIX_CACHE) == "unused" for run in runs}) > 1:
            mixed = "the outputs of frozen layers were kept for some seeds, not for others"
            yield f"{row_name(runs[0])}: {mixed}; times are means over both."


def _numeric(text: str) -> tuple[int, str]:
    return (int(text), text) if text.isdigit() else (0, text)


def precision_of(run: Run) -> str:
    """The type of the run's matrix products, as `--precision` calls it; empty where it is not recorded."""
    dtype = run.params.get("compute_dtype", "")
    return PRECISIONS.get(dtype, dtype)


def describe_settings(runs: Iterable[Run]) -> list[str]:
    """What times and memory of the runs depend on beside the strategy, such as hardware and batch size; each setting once."""
    return sorted({_say(_parts(run)) for run in runs})


def list_settings(rows: Sequence[Sequence[Run]]) -> list[list[str]]:
    """The settings of each row, as `describe_settings` has them.

    A row without an encoder knows its hardware alone, so it is of the one setting that the others have on that hardware.
    """
    whole = {_parts(run) for runs in rows for run in runs if not trains_no_encoder(run)}
    return [sorted({_say(_complete(_parts(run), whole)) for run in runs}) for runs in rows]


def _complete(parts: tuple[str, ...], whole: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    alike = [other for other in whole if all(own in ("", others) for own, others in zip(parts, other, strict=True))]
    return alike[0] if len(alike) == 1 else parts


def _say(parts: Sequence[str]) -> str:
    return ", ".join(part for part in parts if part not in _USUAL)


def tell_settings_apart(rows: Iterable[Sequence[Run]]) -> list[str]:
    """Of the setting of each row the parts in which not all agree; several settings of one row with a stroke between.

    Empty where all agree, and for a model from elsewhere, whose training nobody measured.
    """
    by_row = [sorted({_parts(run) for run in runs if was_trained_here(run)}) for runs in rows]
    by_part = zip(*(setting for settings in by_row for setting in settings), strict=True)
    differing = [place for place, values in enumerate(by_part) if len({*values} - {""}) > 1]
    return [
        " / ".join(", ".join(setting[place] for place in differing if setting[place]) for setting in settings)
        for settings in by_row
    ]


def describe_unlike_settings(rows: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """What must be said of times and memory where rows, or the seeds of one row, were not trained in the same setting.

    Args:
        rows: Name of a row -> its runs.
    """
    for name, runs in rows.items():
        settings = describe_settings(runs)
        if len(settings) > 1:
            listed = "; ".join(settings)
            yield f"{name}: its seeds were trained in different settings ({listed}), so it has no mean time or memory."
    if any(tell_settings_apart(rows.values())):
        yield (
            "The rows were not all trained in the same setting (hardware, precision, batch size and pieces, processes, "
            "trainings at once, acceleration, gradient checkpointing; the column setting says what differs). Times and memory "
            "compare within one setting only."
        )
    if any(tell_predict_settings_apart(rows.values())):
        yield (
            "What answers cost was not measured in the same setting for all rows, or all seeds of a row (the column measured "
            "on): latency, throughput and memory of answering compare within one setting only."
        )


def list_predict_settings(runs: Iterable[Run]) -> list[str]:
    """In which settings it was measured what answers of the runs' models cost; each once, none where that was not."""
    return sorted({run.tags[Tag.PREDICT_SETTING] for run in runs if Tag.PREDICT_SETTING in run.tags})


def tell_predict_settings_apart(rows: Iterable[Sequence[Run]]) -> list[str]:
    """The same of each row, several with a stroke between; empty where all rows that were measured agree."""
    by_row = [list_predict_settings(runs) for runs in rows]
    alike = len({setting for settings in by_row for setting in settings}) < 2
    return ["" if alike else " / ".join(settings) for settings in by_row]


_ONE_PROCESS, _ALONE, _ACCELERATED, _KEPT = "1 process", "1 at once", "accelerated", "no gradient checkpointing"
_USUAL = (_ONE_PROCESS, _ALONE, _ACCELERATED, _KEPT, "")


def _parts(run: Run) -> tuple[str, ...]:
    """What makes a run's setting; empty is what a run without an encoder has nothing of."""
    at_once = f"{count_at_once(run)} at once"
    if trains_no_encoder(run):
        return (run.tags.get(Tag.HARDWARE, "unknown hardware"), "", "", "", at_once, "", "")
    processes = count_processes(run)
    chosen, pieces = option_of(run, "acceleration"), option_of(run, "gradient_accumulation_steps")
    micro_batch = run.metrics.get("cost/micro_batch")
    in_pieces = f", {micro_batch:.0f} at a time" if micro_batch else f" in {pieces} pieces" if pieces != 1 else ""
    return (
        run.tags.get(Tag.HARDWARE, "unknown hardware"),
        precision_of(run) or "unknown precision",
        f"batches of {say_option(run, 'batch_size') or 'unknown size'}{in_pieces}",
        _ONE_PROCESS if processes == 1 else f"{processes} processes",
        at_once,
        _ACCELERATED if chosen in ((), ("auto",)) else f"acceleration {', '.join(chosen)}",
        "gradient checkpointing" if option_of(run, "gradient_checkpointing") else _KEPT,
    )
