"""The stage `main`, a recipe's whole study: prepare, tune if asked, train every strategy and seed, evaluate, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline import config as configs
from pipeline.config.dry_run import refuse_idle_memory
from pipeline.config.fields import as_dict, describe_fields
from pipeline.config.identity import identify
from pipeline.errors import PipelineError, ProcessLostError, StoreAwayError, in_one_line
from pipeline.hashing import digest
from pipeline.stages import compare, prepare_data, tune
from pipeline.stages.executor import Executor, Work, create_executor, stopping
from pipeline.stages.processes.workers import WorkerProcesses
from pipeline.stages.progress import say
from pipeline.stages.run_record import log_datasets
from pipeline.stages.search.plan import search_config
from pipeline.stages.study.dry_run import describe_plan
from pipeline.stages.study.export_folder import check_export_folder
from pipeline.stages.study.loop import StudyLoop, Wanted
from pipeline.stages.study.memory_forecast import NOTHING_WAS_RUN, describe_memory
from pipeline.stages.study.plan import StudyPlan, find_doubts, plan_study
from pipeline.stages.study.resume import open_study
from pipeline.stages.study.sizes import describe_sizes
from pipeline.stages.study.tags import note_doubts, note_planned, note_unfit
from pipeline.stages.testing.transfer import check_transfer, find_transfer, refuse_idle_transfer
from pipeline.tracking import import_store, open_to_read, open_tracker
from pipeline.tracking.provenance import git_commit
from pipeline.tracking.runs import RunLogger, Tracker, close_unfinished
from pipeline.tracking.tags import Tag
from pipeline.training.setup import find_inputs

C = TypeVar("C", bound=configs.StageConfig)
T = TypeVar("T")


@dataclass(frozen=True)
class StudyResult:
    """A finished study."""

    run_id: str
    comparison: compare.CompareResult


def run(config: configs.MainConfig, tracker: Tracker | None = None) -> StudyResult | None:
    """Run the study as nested runs below one parent, each training with its test in a process of its own.

    What an earlier run computed with the same code, configuration and data is reused. A training that fails does not stop
    the others; the study then ends with an error that names it.

    Returns:
        None for a dry run.

    Raises:
        InputError: A mistake in options, recipe, data or model; no run was made.
        PipelineError: A training failed; the table of the others was made nevertheless.
    """
    refuse_idle_transfer(config)
    refuse_idle_memory(config)
    if config.export_dir:  # not after hours of training
        check_export_folder(Path(config.export_dir))
    if config.dry_run:
        plan = _plan(config)
        for line in describe_plan(plan, tracker or open_to_read()):
            say(line)
        trainings = {plan.name(inputs): inputs for inputs in plan.at_largest_size}
        at_once = config.workers * max(inputs.config.num_processes for inputs in plan.strategies)
        for line in describe_memory(trainings, plan.precision, config.device_memory_gb, at_once):
            say(line)
        say(NOTHING_WAS_RUN)
        return None
    processes = WorkerProcesses()
    import_store()  # the process that plans is still importing, too
    plan = processes.delegate(_plan, config)
    tracker = tracker or open_tracker()
    executor = create_executor(Work(config), processes)
    with stopping(executor), open_study(plan, tracker) as logger, stopping(executor):  # runs are closed before the study's
        _log_start(plan, logger)
        logger.set_tags({Tag.EXECUTOR: executor.name, Tag.WORKERS: str(executor.workers)})
        for line in _introduce(plan, logger.run_id):
            say(line)
        shared = _shared(configs.PrepareDataConfig, plan.config, without="force")
        _run_below(logger.run_id, prepare_data.run, configs.PrepareDataConfig(**shared), tracker, processes)
        outcomes = _carry_out(plan, executor, tracker, processes, logger)
        failures = [failure for outcome in outcomes for failure in outcome.failures]
        if not any(outcome.finished for outcome in outcomes):
            raise PipelineError("No strategy could be trained and evaluated. " + "; ".join(failures))
        compared = configs.CompareConfig(study=logger.run_id, **_shared(configs.ComparisonConfig, config, without="explicit"))
        comparison = _run_below(logger.run_id, compare.run, compared, tracker, processes)
        for line in _say_where(tracker, logger.run_id):
            say(line)
        if failures:
            raise PipelineError(f"{_count_failures(outcomes)}. " + "; ".join(failures))
    return StudyResult(logger.run_id, comparison)


def _plan(config: configs.MainConfig) -> StudyPlan:
    """The study's plan, and that the second data set can be tested on if there is one."""
    plan = plan_study(config)
    if config.transfer_dataset:
        manifest = plan.strategies[0].prepared.manifest
        check_transfer(config.transfer_dataset, manifest.problem)
        find_transfer(config, manifest.classes, config.split_seed)
    return plan


def _run_below(study: str, stage: Callable[[C, Tracker, str], T], config: C, tracker: Tracker, processes: WorkerProcesses) -> T:
    """The result of another stage whose run is nested below the study's."""
    try:
        return processes.delegate(stage, config, tracker, study)
    except ProcessLostError as error:  # so it could not close its run
        close_unfinished(tracker, study, str(error))
        raise


def _log_start(plan: StudyPlan, logger: RunLogger) -> None:
    logger.log_params(identify(plan.config))
    logger.set_tags(
        {
            "stage": "main",
            "recipe": plan.config.recipe,
            "config_hash": digest([identify(inputs.config) for inputs in plan.strategies]),
            "git_commit": git_commit(),
        }
    )
    note_unfit(logger, plan.unfit)
    seeds = {plan.name(inputs): inputs.config.seed for inputs in plan.strategies}
    note_planned(logger, {title: range(first, first + plan.config.seeds) for title, first in seeds.items()})
    note_doubts(logger, find_doubts(plan))
    log_datasets(logger, plan.strategies[0].prepared, "train", "validation", "test")


def _introduce(plan: StudyPlan, run_id: str) -> Iterator[str]:
    """What will be run, what will not, and what makes the comparison unfair."""
    config = plan.config
    seeds = f", {config.seeds} seeds from {config.seed} on" if config.seeds > 1 else ""
    titles = dict.fromkeys(inputs.config.title for inputs in plan.strategies if inputs.config.model)
    models = f", each on {', '.join(config.models)}" if config.models and titles else ""
    without = dict.fromkeys(inputs.config.title for inputs in plan.strategies if not inputs.config.model)
    baselines = f"{'; ' if titles else ''}without an encoder: {', '.join(without)}" if without else ""
    yield f"Study {config.recipe}: {', '.join(titles)}{models}{baselines}{seeds}. Run {run_id}"
    yield from dict.fromkeys(note for inputs in plan.strategies for note in inputs.notes)
    yield from describe_sizes(plan.config, plan.strategies)
    for strategy, reason in plan.unfit.items():
        yield f"Not run: {strategy}: {reason}"
    yield from (f"Note: {doubt}" for doubt in find_doubts(plan))
    yield from plan.made_fair
    if plan.at_once:
        yield plan.at_once


def _shared(cls: type[configs.StageConfig], config: configs.MainConfig, without: str) -> dict[str, Any]:
    """What a study says of the options of another class, all but one."""
    names = describe_fields(cls)
    return {name: value for name, value in as_dict(config).items() if name in names and name != without}


@dataclass
class _Outcome:
    """How many trainings of a row have their test result, and why the others have not."""

    finished: int = 0
    failures: list[str] = field(default_factory=list)


def _carry_out(
    plan: StudyPlan, executor: Executor, tracker: Tracker, processes: WorkerProcesses, study: RunLogger
) -> list[_Outcome]:
    """Search if asked, a row after the other, each with all workers; then train and test all rows with all seeds."""
    outcomes = [_Outcome() for _ in plan.strategies]
    wanted: list[Wanted] = []
    rows: list[_Outcome] = []
    sizes = plan.sizes
    for inputs, outcome in zip(plan.strategies, outcomes, strict=True):
        name, tags = plan.name(inputs), dict[str, str]()
        if plan.searches(inputs):
            try:
                search = tune.run(search_config(plan.config, inputs.config), tracker, study.run_id, processes)
                inputs, tags = processes.delegate(find_inputs, search.best_config), dict(search.tags)
            except StoreAwayError:  # the others would wait for it, too
                raise
            except PipelineError as error:
                close_unfinished(tracker, study.run_id, str(error))
                say(f"{name} failed: {in_one_line(error)}")
                outcome.failures.append(f"{name}: {in_one_line(error)}")
                continue
        for training in plan.trainings(inputs):
            seed = f" (seed {training.config.seed})" if plan.config.seeds > 1 else ""
            # What answers cost does not depend on how many texts a model was trained on.
            wanted.append(Wanted(training, name, seed, tags, inputs.config.train_size == sizes[-1]))
            rows.append(outcome)
    failures = StudyLoop(plan, executor, tracker, study).run(wanted)
    for place, outcome in enumerate(rows):
        if place in failures:
            outcome.failures.append(failures[place])
        else:
            outcome.finished += 1
    return outcomes


def _say_where(tracker: Tracker, run_id: str) -> Iterator[str]:
    """How to look at the study's run in a browser."""
    command, page = tracker.ui_command(), tracker.web_address(run_id)
    if command:
        yield f"Browse the runs: {command}   (then open {page})"
    elif page:
        yield f"Browse the runs: {page}"


def _count_failures(outcomes: Sequence[_Outcome]) -> str:
    lost = sum(not outcome.finished for outcome in outcomes)
    some = sum(len(outcome.failures) for outcome in outcomes if outcome.finished)
    parts = [f"{lost} of {len(outcomes)} strategies failed and are not in the table"] if lost else []
    parts += [f"{some} training(s) of {'other ' if lost else ''}strategies in the table failed"] if some else []
    return ", and ".join(parts)
