"""What several seeds of the same settings show: mean, spread, worst case, and which of them failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.comparison.budgets import budget_of
from pipeline.errors import enumerate_some
from pipeline.identity import SEEDS
from pipeline.tracking.runs import Run

if TYPE_CHECKING:
    from pipeline.comparison.selection import Selection

QUALITY = (
    "accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "spearman",
    "pearson",
    *("transfer_accuracy", "transfer_f1_macro"),
)
"""Columns whose spread over seeds is shown."""


def configuration(run: Run) -> tuple[str, ...]:
    """Equal for runs that repeat one another, seed included.

    With dropout another number of processes is another draw. Whether the outputs of frozen layers were kept is in no key: that
    changes times, and scores by rounding alone.
    """
    return run.tags["config_hash"], run.tags.get("base_sha256", ""), _processes(run)


def row_key(run: Run) -> tuple[str, ...]:
    """Equal for runs that differ in their seeds only: same settings, base, precision and processes, tuned alike."""
    return (
        run.tags["settings_hash"],
        run.tags.get("base_sha256", ""),
        run.params.get("compute_dtype", ""),
        _processes(run),
        run.tags.get("tuned_trials", ""),
        budget_of(run),
    )


def _processes(run: Run) -> str:
    return run.tags.get("num_processes", "1")


def unrepeated(failed: Iterable[Run], kept: Sequence[Run]) -> tuple[Run, ...]:
    """Of each configuration that failed on the data of `kept` the newest run, unless another try of it was kept."""
    done = {configuration(run) for run in kept}
    fingerprints = {run.tags["data_fingerprint"] for run in kept}
    found: dict[tuple[str, ...], Run] = {}
    for run in failed:
        # One that failed before it could say what it is stands among those left out, and nowhere else.
        if "settings_hash" in run.tags and run.tags.get("data_fingerprint") in fingerprints and configuration(run) not in done:
            found.setdefault(configuration(run), run)
    return tuple(found.values())


def count_seeds(runs: Iterable[Run]) -> int:
    """How many different seeds the runs were made with."""
    return len({tuple(run.params.get(name) for name in SEEDS) for run in runs})


def spread(column: str, values: pd.Series) -> dict[str, float]:
    """Sample standard deviation (none of a single value) and minimum, under the column's name with an ending."""
    return {f"{column}_std": float(values.std(ddof=1)), f"{column}_min": float(values.min())}


def describe_failures(selection: Selection) -> Iterator[str]:
    """A line for every row of the table that lacks seeds because they failed."""
    for key, failed in _by_row(selection.failed).items():
        there = [run for run in selection.kept if row_key(run) == key]
        if there:
            named = ", ".join(sorted({run.params.get("seed", "?") for run in failed}, key=_numeric))
            count = count_seeds(failed)
            share = f"{count} of {count + count_seeds(there)} seeds failed ({named})"
            name = failed[0].tags.get("entry") or failed[0].tags["strategy"]
            yield f"{name}: {share}. Its figures are of the others alone, and flatter it."


def describe_missing(planned: Mapping[str, Sequence[int]], runs: Iterable[Run]) -> Iterator[str]:
    """A phrase for every row of a study's plan that has seeds which were never begun.

    Args:
        planned: Name of a row -> its seeds.
        runs: All trainings of the study, finished or not.
    """
    begun = {(run.tags.get("entry") or run.tags.get("strategy") or run.name, run.params.get("seed")) for run in runs}
    for name, seeds in planned.items():
        missing = [seed for seed in seeds if (name, str(seed)) not in begun]
        if missing:
            listed = f"seed{'s' if len(missing) > 1 else ''} {enumerate_some(list(map(str, missing)), 10)}"
            whole = "" if len(seeds) == 1 else f"(all {len(seeds)} seeds)"
            yield f"{name} {whole if len(missing) == len(seeds) else listed}".rstrip()


def describe_unequal_seeds(selection: Selection) -> Iterator[str]:
    """That rows are of different seeds, where they are: their means are then not over the same draws."""
    trained = [run for run in selection.kept if "seed" in run.params]  # a model from elsewhere has none
    seeds = {frozenset(run.params["seed"] for run in runs) for runs in _by_row(trained).values()}
    if len(seeds) > 1:
        yield "The rows are not of the same seeds, so their means do not compare like with like."


def describe_mixed_times(selection: Selection) -> Iterator[str]:
    """A line for every row whose times are means over trainings that did not cost alike."""
    for runs in _by_row(selection.kept).values():
        if len({run.tags.get("frozen_prefix_cache") == "unused" for run in runs}) > 1:
            name = runs[0].tags.get("entry") or runs[0].tags["strategy"]
            yield f"{name}: the outputs of frozen layers were kept for some seeds, not for others; times are means over both."


def _by_row(runs: Iterable[Run]) -> dict[tuple[str, ...], list[Run]]:
    rows: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        rows.setdefault(row_key(run), []).append(run)
    return rows


def _numeric(text: str) -> tuple[int, str]:
    return (int(text), text) if text.isdigit() else (0, text)
