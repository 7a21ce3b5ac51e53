"""How long a training will take, by what trainings of the same strategy, model and data took on record."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.comparison.rows import was_trained_here
from pipeline.stages.inputs import TrainingInputs
from pipeline.tracking.provenance import hardware
from pipeline.tracking.runs import Run
from pipeline.training.precision import Precision, dtype_name

_NEEDED = ("cost/wall_seconds", "cost/train_seconds", "cost/examples_per_second")
_ENOUGH_STEPS = 50
"""From so many steps on a speed holds for any number: the first ones, which are slow, weigh little by then."""
_NEAR = 4
"""By how much the number of examples may differ between a shorter training and what is foretold from it."""
_TOO_WIDE = 5
"""A range whose end is so many times its beginning says nothing."""
_EVALUATING = 0.4
"""Time of an example that is evaluated, as a share of one that is trained on: forward, of forward and backward."""


@dataclass(frozen=True)
class Seconds:
    """How long something takes, between two bounds."""

    low: float
    high: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Seconds:
        return Seconds(self.low * factor, self.high * factor)

    def __str__(self) -> str:
        low, high = describe_seconds(self.low), describe_seconds(self.high)
        return f"about {high}" if low == high or self.high < 1.2 * self.low else f"{low} to {high}"


@dataclass(frozen=True)
class _Past:
    """What a training on record took."""

    steps_seconds: float
    examples: float
    """Trained on, repetitions counted."""
    rest: float
    """Seconds that depend on neither the number of examples nor that of texts."""
    rows: int
    """Texts of train and validation that were used."""
    cache_seconds: float
    """For what frozen layers make of them, in this run or in the one whose result it found."""


def expected_seconds(past: Sequence[Run], inputs: TrainingInputs, precision: Precision) -> Seconds | None:
    """How long a training of these inputs and its test take, by past ones on the same machine; None where they do not tell.

    Time is a fixed part (loading, saving, the test, and what the first steps take beyond the others), a part per example that
    is trained on, one per example that is evaluated, and one per text that frozen layers see. Past trainings of different
    lengths tell the fixed part from the others. Where all are much shorter or longer than what is planned, the time lies
    between two bounds: that all of theirs was fixed, and that none was.
    """
    alike = [run for run in past if _is_alike(run, inputs, precision)]
    if not alike:
        return None
    rows = len(inputs.sample("train")) + len(inputs.sample("validation"))
    examples = len(inputs.sample("train")) * inputs.config.epochs
    evaluated = len(inputs.sample("validation")) * _evaluations(
        inputs.config.epochs, inputs.config.eval_steps, examples / inputs.config.batch_size
    )
    runs = [_read(run, inputs) for run in alike]
    steps = _foretell_steps(runs, examples, inputs.config.batch_size)
    rest = statistics.median(run.rest for run in runs) + _EVALUATING * evaluated * steps.high / examples
    rates = [run.cache_seconds / run.rows for run in runs if run.cache_seconds]
    if rates and rows not in {run.rows for run in runs}:  # else what frozen layers make of these texts is there
        rest += statistics.median(rates) * rows
    ids = {run.run_id for run in alike}
    tests = [run.metrics["cost/wall_seconds"] for run in past if _is_test(run) and run.tags["evaluates"] in ids]
    rest += statistics.median(tests) if tests else 0.0
    found = steps + Seconds(rest, rest)
    return None if found.high > _TOO_WIDE * found.low else found


def _is_alike(run: Run, inputs: TrainingInputs, precision: Precision) -> bool:
    """Whether a run's seconds say something of a training: the same work per example, on a machine like this."""
    config = inputs.config
    wanted = {
        "compute_dtype": dtype_name(precision),
        "dataset": config.dataset,
        "max_length": str(config.max_length),
        "batch_size": str(config.batch_size),
    }
    return (
        was_trained_here(run)
        and run.status == "FINISHED"
        and run.tags.get("strategy") == config.strategy
        and run.tags.get("base_sha256") == inputs.base_sha256
        and all(run.params.get(name) == value for name, value in wanted.items())
        and run.tags.get("hardware") in (None, hardware())
        and all(run.metrics.get(name) for name in _NEEDED)
        and run.metrics.get("cost/grid_points", 1) <= 1  # of those that trained together each has a share of the seconds
    )


def _is_test(run: Run) -> bool:
    """Whether the run is the test of another one, on its own test part."""
    tests_another = run.stage == "evaluate" and "evaluates" in run.tags and "split_part" not in run.params
    return tests_another and "cost/wall_seconds" in run.metrics


def _read(run: Run, inputs: TrainingInputs) -> _Past:
    wall, steps_seconds, speed = (run.metrics[name] for name in _NEEDED)
    examples = steps_seconds * speed
    epochs, batch_size = (int(run.params.get(name) or 1) for name in ("epochs", "batch_size"))
    limit, eval_steps = (int(value) if (value := run.params.get(name)) else None for name in ("max_eval_samples", "eval_steps"))
    validation = min(inputs.prepared.manifest.rows["validation"], limit or sys.maxsize)
    evaluated = validation * _evaluations(epochs, eval_steps, examples / batch_size)
    cache_seconds = run.metrics.get("cost/cache_seconds", 0.0)
    spent = cache_seconds if run.tags.get("frozen_prefix_cache") == "built" else 0.0
    # A run that was resumed has the steps of all attempts, but the wall time of the last.
    rest = max(0.0, wall - steps_seconds - spent - _EVALUATING * evaluated / speed)
    train = int(run.metrics.get("data/train_examples", examples / epochs))
    return _Past(steps_seconds, examples, rest, train + validation, cache_seconds)


def _evaluations(epochs: int, eval_steps: int | None, steps: float) -> float:
    return steps / eval_steps if eval_steps else epochs


def _foretell_steps(runs: Sequence[_Past], examples: int, batch_size: int) -> Seconds:
    """Seconds of training steps for so many examples."""

    def tells(run: _Past) -> bool:
        enough = min(run.examples, examples) >= _ENOUGH_STEPS * batch_size
        return enough or 1 / _NEAR <= examples / run.examples <= _NEAR

    telling = [run for run in runs if tells(run)]
    slopes = [
        (right.steps_seconds - left.steps_seconds) / (right.examples - left.examples)
        for left, right in itertools.permutations(runs, 2)
        if right.examples >= 2 * left.examples
    ]
    if telling and slopes and (slope := statistics.median(slopes)) > 0:
        fixed = max(0.0, statistics.median(run.steps_seconds - slope * run.examples for run in telling))
        return Seconds(fixed + slope * examples, fixed + slope * examples)
    if telling:
        found = statistics.median(run.steps_seconds * examples / run.examples for run in telling)
        return Seconds(found, found)
    bounds = [sorted((run.steps_seconds, run.steps_seconds * examples / run.examples)) for run in runs]
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    return Seconds(min(low, high), max(low, high))


def describe_seconds(seconds: float) -> str:
    """A duration as somebody would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
