"""In what setting a run was trained: its time and memory say nothing about those of another setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.comparison.rows import count_processes, was_trained_here
from pipeline.tracking.runs import Run
from pipeline.training.precision import PRECISIONS


def precision_of(run: Run) -> str:
    """The type of the run's matrix products, as `--precision` calls it; empty where it is not recorded."""
    dtype = run.params.get("compute_dtype", "")
    return PRECISIONS.get(dtype, dtype)


def describe_settings(runs: Iterable[Run]) -> list[str]:
    """Hardware, precision, batch size and number of processes of the runs, each combination once."""
    return sorted({", ".join(part for part in _parts(run) if part != _ONE_PROCESS) for run in runs})


def tell_settings_apart(rows: Iterable[Sequence[Run]]) -> list[str]:
    """Of the setting of each row the parts in which not all agree; several settings of one row with a stroke between.

    Empty where all agree, and for a model from elsewhere, whose training nobody measured.
    """
    found = [sorted({_parts(run) for run in runs if was_trained_here(run)}) for runs in rows]
    by_part = zip(*(setting for settings in found for setting in settings), strict=True)
    differing = [place for place, values in enumerate(by_part) if len(set(values)) > 1]
    return [" / ".join(", ".join(setting[place] for place in differing) for setting in settings) for settings in found]


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
            "The rows were not all trained in the same setting (hardware, precision, batch size, processes; the column setting "
            "says what differs). Times and memory compare within one setting only."
        )


_ONE_PROCESS = "1 process"


def _parts(run: Run) -> tuple[str, ...]:
    processes = count_processes(run)
    return (
        run.tags.get("hardware", "unknown hardware"),
        precision_of(run) or "unknown precision",
        f"batches of {run.params.get('batch_size', 'unknown size')}",
        _ONE_PROCESS if processes == 1 else f"{processes} processes",
    )
