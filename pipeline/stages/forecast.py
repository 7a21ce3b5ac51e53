"""How long a training will take, by what trainings of the same strategy and model took on record."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pipeline.comparison.rows import was_trained_here
from pipeline.stages.inputs import TrainingInputs
from pipeline.tracking.runs import Run
from pipeline.training.precision import Precision, dtype_name

_NEEDED = ("cost/wall_seconds", "cost/train_seconds", "cost/examples_per_second")


def expected_seconds(past: Sequence[Run], inputs: TrainingInputs, precision: Precision) -> float | None:
    """The median over past runs of what each would have taken with as many examples and epochs; None without any.

    Steps are scaled by the examples that went through them; loading, evaluating and saving are taken as they were.
    """
    dtype = dtype_name(precision)
    planned = len(inputs.sample("train")) * inputs.config.epochs
    found = [
        _scaled(run, planned)
        for run in past
        if was_trained_here(run)
        and run.status == "FINISHED"
        and run.tags.get("strategy") == inputs.config.strategy
        and run.tags.get("base_sha256") == inputs.base_sha256
        and run.params.get("compute_dtype") == dtype
        and all(run.metrics.get(name) for name in _NEEDED)
        and run.metrics.get("cost/grid_points", 1) <= 1  # of those that trained together each has a share of the seconds
    ]
    return statistics.median(found) if found else None


def _scaled(run: Run, planned: int) -> float:
    wall, steps, speed = (run.metrics[name] for name in _NEEDED)
    rest = max(0.0, wall - steps)  # a run that was resumed has the steps of all attempts, but the wall time of the last
    return rest + planned / speed


def describe_seconds(seconds: float) -> str:
    """A duration as somebody would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
