"""The plan of a study, said instead of carried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from pipeline.stages import tune
from pipeline.stages.attempt import find_interrupted
from pipeline.stages.forecast import Seconds, expected_seconds
from pipeline.stages.inputs import TrainingInputs, find_inputs
from pipeline.stages.plan import StudyPlan
from pipeline.stages.reuse import find_finished
from pipeline.stages.search_plan import SearchPlan, plan_search, search_config
from pipeline.tracking.runs import Run, RunStore
from pipeline.training.precision import choose_precision


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
    past = store.search()
    lines = [line for inputs in plan.strategies for line in _lines(plan, inputs, store, past)]
    yield f"Plan of study {plan.config.recipe}, precision {plan.precision}:"
    rows = [(line.strategy, line.arguments, line.seed, line.what, _describe_time(line)) for line in lines]
    yield from tabulate(rows, ["strategy", "arguments", "seed", "what", "time"], disable_numparse=True).splitlines()
    for strategy, reason in plan.unfit.items():
        yield f"Not run: {strategy}: {reason}"
    to_train = sum(line.trainings for line in lines)
    reused = sum(not line.trainings for line in lines)
    yield f"Total: {to_train} to train, {reused} reused; {_describe_total(lines)}."
    yield "Nothing was run (--dry-run)."


def _describe_total(lines: Sequence[_Line]) -> str:
    unknown = sum(line.trainings for line in lines if line.trainings and line.seconds is None)
    if not any(line.trainings for line in lines):
        return "nothing is left to train"
    if unknown == sum(line.trainings for line in lines):
        return (
            "how long that takes is unknown: no run of these strategies, with this model, data and machine, is there that is "
            "long enough to tell"
        )
    known = sum((line.seconds for line in lines if line.seconds is not None), Seconds(0.0, 0.0))
    return f"{known} by past runs" + (f", and {unknown} of unknown duration" if unknown else "")


def _lines(plan: StudyPlan, inputs: TrainingInputs, store: RunStore, past: list[Run]) -> Iterator[_Line]:
    arguments = _describe_arguments(inputs)
    seconds = expected_seconds(past, inputs, plan.precision)
    name = inputs.config.title
    tuned: Mapping[str, str] = {}
    if plan.config.tune:
        search = plan_search(search_config(plan.config, inputs.config))
        found = tune.find_search(search, store)
        settled, result = found or (0, None)
        if result is None:  # which settings win, and so which trainings there are, is known after the search
            yield _search_line(plan, search, settled, name, arguments, seconds)
            return
        yield _Line(name, arguments, str(inputs.config.seed), f"search reused: run {result.run_id}", 0, None)
        inputs, tuned = find_inputs(result.best_config), result.tags
        arguments = _describe_arguments(inputs)
    for training in plan.trainings(inputs):
        seed = str(training.config.seed)
        finished = (
            None
            if plan.config.force
            else find_finished(store, training, choose_precision(training.config.precision), tuned=tuned)
        )
        step = find_interrupted(training)
        if finished:
            yield _Line(name, arguments, seed, f"reused: run {finished.run_id}", 0, None)
        elif step is not None:
            left = 1 - step / training.context().total_steps
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
    what = f"search with a budget of {budget}{begun}, then the winner with {seeds} seed(s)"
    return _Line(name, arguments, str(search.base.seed), what, count, seconds and seconds * count)


def _describe_arguments(inputs: TrainingInputs) -> str:
    return ",".join(f"{name}={value}" for name, value in inputs.config.strategy_args.items() if value not in (None, []))


def _describe_time(line: _Line) -> str:
    if not line.trainings:
        return ""
    return "unknown" if line.seconds is None else str(line.seconds)
