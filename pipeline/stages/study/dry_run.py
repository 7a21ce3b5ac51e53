"""Print a study's plan, with times estimated from past trainings of the same strategy, model and data."""

from __future__ import annotations

import heapq
import itertools
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from pipeline.data.long_texts import LongTextReading
from pipeline.stages import tune
from pipeline.stages.executors.local import share_of_threads
from pipeline.stages.resume_training import find_interrupted
from pipeline.stages.search.plan import SearchPlan, plan_search, search_config
from pipeline.stages.study.plan import StudyPlan
from pipeline.stages.study.resume import find_finished, find_interrupted_study
from pipeline.stages.study.sizes import describe_sizes
from pipeline.tracking.provenance import hardware
from pipeline.tracking.run_kinds import count_at_once, was_trained_here
from pipeline.tracking.run_options import count_of, option_of, reading_of, say_option
from pipeline.tracking.runs import Run, RunStore
from pipeline.tracking.tags import Tag
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.precision import Precision, choose_precision
from pipeline.training.setup import find_inputs

_NEEDED = ("cost/wall_seconds", "cost/train_seconds", "cost/examples_per_second")
_ENOUGH_STEPS = 50
"""From so many steps on a speed holds for any number: the first ones, which are slow, weigh little by then."""
_NEAR = 4
"""By how much the number of examples may differ between a shorter training and what is foretold from it."""
_TOO_WIDE = 5
"""A range whose end is so many times its beginning says nothing."""
_NOT_BEGUN = "not begun"
"""In place of the id of a study's run."""
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


def expected_seconds(past: Sequence[Run], inputs: TrainingInputs, precision: Precision, workers: int = 1) -> Seconds | None:
    """How long a training of these inputs and its test take, by past ones on the same machine, as many at once.

    None where they do not tell.

    Time is a fixed part (loading, saving, the test, and what the first steps take beyond the others), a part per example that
    is trained on, one per example that is evaluated, and one per text that frozen layers see. Past trainings of different
    lengths tell the fixed part from the others. Where all are much shorter or longer than what is planned, the time lies
    between two bounds: that all of theirs was fixed, and that none was.
    """
    alike = [run for run in past if _is_alike(run, inputs, precision, workers)]
    if not alike:
        return None
    rows = inputs.count("train") + inputs.count("validation")
    examples = inputs.examples_of(inputs.config)
    evaluated = inputs.count("validation") * _evaluations(
        inputs.config.epochs, inputs.config.eval_steps, examples / inputs.config.batch_size
    )
    runs = [_read(run, inputs) for run in alike]
    steps = _foretell_steps(runs, examples, inputs.config.batch_size)
    rest = statistics.median(run.rest for run in runs) + _EVALUATING * evaluated * steps.high / examples
    rates = [run.cache_seconds / run.rows for run in runs if run.cache_seconds]
    if rates and rows not in {run.rows for run in runs}:  # else what frozen layers make of these texts is there
        rest += statistics.median(rates) * rows
    ids = {run.run_id for run in alike}
    tests = [run.metrics["cost/wall_seconds"] for run in past if _is_test(run) and run.tags[Tag.EVALUATES] in ids]
    rest += statistics.median(tests) if tests else 0.0
    total = steps + Seconds(rest, rest)
    return None if total.high > _TOO_WIDE * total.low else total


def _is_alike(run: Run, inputs: TrainingInputs, precision: Precision, workers: int) -> bool:
    """Whether a run's seconds say something of a training: the same work per example, a machine like this, as many at once."""
    return (
        was_trained_here(run)
        and run.status == "FINISHED"
        and run.tags.get("strategy") == inputs.config.strategy
        and run.tags.get(Tag.BASE_SHA256, "") == inputs.base_sha256
        and all(say_option(run, name) == value for name, value in inputs.work(precision).items())
        and reading_of(run) == LongTextReading.of(inputs.config)
        and option_of(run, "gradient_checkpointing") == inputs.config.gradient_checkpointing
        and count_at_once(run) == workers
        and run.tags.get(Tag.HARDWARE) in (None, hardware(share_of_threads(workers)))
        and all(run.metrics.get(name) for name in _NEEDED)
        and run.metrics.get("cost/grid_points", 1) <= 1  # of those that trained together each has a share of the seconds
    )


def _is_test(run: Run) -> bool:
    """Whether the run is the test of another one, on its own test part."""
    tests_another = run.stage == "evaluate" and Tag.EVALUATES in run.tags and "split_part" not in run.params
    return tests_another and "cost/wall_seconds" in run.metrics


def _read(run: Run, inputs: TrainingInputs) -> _Past:
    wall, steps_seconds, speed = (run.metrics[name] for name in _NEEDED)
    examples = steps_seconds * speed
    epochs, batch_size = (count_of(run, name) or 1 for name in ("epochs", "batch_size"))
    limit, eval_steps = count_of(run, "max_eval_samples"), count_of(run, "eval_steps")
    there = min(inputs.prepared.manifest.rows["validation"], limit or sys.maxsize)
    validation = int(run.metrics.get("data/validation_examples", there))
    evaluated = validation * _evaluations(epochs, eval_steps, examples / batch_size)
    cache_seconds = run.metrics.get("cost/cache_seconds", 0.0)
    spent = cache_seconds if run.tags.get(Tag.FROZEN_PREFIX_CACHE) == "built" else 0.0
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
        seconds = statistics.median(run.steps_seconds * examples / run.examples for run in telling)
        return Seconds(seconds, seconds)
    bounds = [sorted((run.steps_seconds, run.steps_seconds * examples / run.examples)) for run in runs]
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    return Seconds(min(low, high), max(low, high))


def describe_seconds(seconds: float) -> str:
    """A duration as somebody would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class _Line:
    """One step of a study: what happens to it, and how long that takes, as far as is known."""

    strategy: str
    arguments: str
    seed: str
    what: str
    trainings: int
    seconds: Seconds | None


def describe_plan(plan: StudyPlan, store: RunStore) -> Iterator[str]:
    """Lines that say what would be trained, continued and reused, and for how long."""
    past, below = store.search(), find_interrupted_study(plan, store) if plan.config.force else None
    lines = [line for inputs in plan.strategies for line in _lines(plan, inputs, store, past, below)]
    yield f"Plan of study {plan.config.recipe}, precision {plan.precision}:"
    rows = [(line.strategy, line.arguments, line.seed, line.what, _describe_time(line)) for line in lines]
    yield from tabulate(rows, ["strategy", "arguments", "seed", "what", "time"], disable_numparse=True).splitlines()
    yield from describe_sizes(plan.config, plan.strategies)
    for strategy, reason in plan.unfit.items():
        yield f"Not run: {strategy}: {reason}"
    yield from plan.made_fair
    yield from (f"Note: {doubt}" for doubt in plan.left_unfair)
    if plan.at_once:
        yield plan.at_once
    to_train = sum(line.trainings for line in lines)
    reused = sum(not line.trainings for line in lines)
    yield f"Total: {to_train} to train, {reused} reused; {_describe_total(lines, plan.config.workers)}."


def _describe_total(lines: Sequence[_Line], workers: int) -> str:
    unknown = sum(line.trainings for line in lines if line.trainings and line.seconds is None)
    if not any(line.trainings for line in lines):
        return "nothing is left to train"
    if unknown == sum(line.trainings for line in lines):
        at_once = f", {workers} at once," if workers > 1 else ","
        return (
            f"how long that takes is unknown: no run of these strategies, with this model, data and machine{at_once} is there "
            "that is long enough to tell"
        )
    single = [line.seconds * (1 / line.trainings) for line in lines if line.seconds for _ in range(line.trainings)]
    low, high = ([getattr(each, bound) for each in single] for bound in ("low", "high"))
    known = Seconds(until_all_ended(low, workers), until_all_ended(high, workers))
    return f"{known} by past runs" + (f", and {unknown} of unknown duration" if unknown else "")


def until_all_ended(durations: Sequence[float], workers: int) -> float:
    """Seconds until the last has ended, where each begins as soon as one of the workers is free."""
    free = [0.0] * workers
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def _lines(
    plan: StudyPlan, inputs: TrainingInputs, store: RunStore, past: list[Run], below: str | None = None
) -> Iterator[_Line]:
    """What is to be done for one row.

    Args:
        below: With --force, the interrupted study that is gone on with, whose runs alone count as there.
    """
    arguments = _describe_arguments(inputs)
    seconds = expected_seconds(past, inputs, plan.precision, plan.config.workers)
    name = plan.name(inputs)
    tuned: Mapping[str, str] = {}
    if plan.searches(inputs):
        search = plan_search(search_config(plan.config, inputs.config))
        earlier = tune.find_search(search, store, below or _NOT_BEGUN)
        settled, result = earlier or (0, None)
        if result is None:  # which settings win, and so which trainings there are, is known after the search
            yield _search_line(plan, search, settled, name, arguments, seconds)
            return
        yield _Line(name, arguments, str(inputs.config.seed), f"search reused: run {result.run_id}", 0, None)
        inputs, tuned = find_inputs(result.best_config), result.tags
        arguments = _describe_arguments(inputs)
    for training in plan.trainings(inputs):
        seed = str(training.config.seed)
        precision, at_once = choose_precision(training.config.precision), plan.config.workers
        finished = None
        if below or not plan.config.force:
            finished = find_finished(store, training, precision, tuned=tuned, below=below, workers=at_once)
        step = find_interrupted(training)
        if finished:
            yield _Line(name, arguments, seed, f"reused: run {finished.run_id}", 0, None)
        elif step is not None:
            left = 1 - step / training.total_steps
            yield _Line(name, arguments, seed, f"continued from step {step}", 1, seconds and seconds * left)
        else:
            yield _Line(name, arguments, seed, "trained", 1, seconds)


def _search_line(
    plan: StudyPlan, search: SearchPlan, settled: int, name: str, arguments: str, seconds: Seconds | None
) -> _Line:
    """What is left of a search, and the winner's trainings; how many trials a budget pays for is estimated."""
    budget, seeds = search.budget, plan.config.seeds
    affordable = {
        "trials": budget.amount,
        "examples": budget.amount // search.examples_of(search.base),
        "train_seconds": budget.amount // seconds.high if seconds else 1,
    }[budget.unit]
    trials = min(affordable, search.space.size or affordable)
    count = max(int(trials) - settled, 0) + seeds
    begun = f", of which {settled} trials are there" if settled else ""
    what = f"search with a budget of {budget}{begun}, then the winner with {seeds} seed(s); the best trial may be the first"
    return _Line(name, arguments, str(search.base.seed), what, count, seconds and seconds * count)


def _describe_arguments(inputs: TrainingInputs) -> str:
    return ",".join(f"{name}={value}" for name, value in inputs.config.strategy_args.items() if value not in (None, []))


def _describe_time(line: _Line) -> str:
    if not line.trainings:
        return ""
    return "unknown" if line.seconds is None else str(line.seconds)
