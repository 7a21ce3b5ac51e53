"""The stage `tune`: search hyperparameters of one strategy; the best trial by a validation metric wins.

Two records are kept, each written in a fixed order, so a search can be killed between any two writes. The tracking store
holds the outcomes of trials; Optuna's storage holds which were drawn and which are settled. A trial's run is finished before
the trial is settled, so an unsettled trial is started again, and `run_trial` finds what was done.
"""

from __future__ import annotations

import shutil

from pipeline import config as configs
from pipeline.data.long_texts import refuse_idle_overlap
from pipeline.errors import PipelineError, RunError, StoreError
from pipeline.objectives.base import refuse_idle_model_labels, refuse_idle_pooling
from pipeline.stages.configure import resolve_strategy
from pipeline.stages.executor import Work, create_executor, stopping
from pipeline.stages.processes.workers import WorkerProcesses, hold_lock
from pipeline.stages.progress import say
from pipeline.stages.search.loop import SearchLoop
from pipeline.stages.search.plan import SearchPlan, plan_search
from pipeline.stages.search.report import TuneResult, find_winner, log_end, log_start, show
from pipeline.stages.search.trial import TrialsTogether
from pipeline.tracking import open_tracker
from pipeline.tracking.runs import Run, RunLogger, RunStore, Tracker, closing
from pipeline.tracking.tags import Tag
from pipeline.training.baselines.training import refuse_idle_encoder_options
from pipeline.training.precision import choose_precision
from pipeline.training.saved_model import NAME, check_model_folder, is_model_folder
from pipeline.tuning.search import Search, forget_search, open_search, peek_search


def run(
    config: configs.TuneConfig,
    tracker: Tracker | None = None,
    parent_id: str | None = None,
    processes: WorkerProcesses | None = None,
) -> TuneResult:
    """Train trials as nested runs below one parent; only the best trial keeps its model.

    What was typed as an option stays as it is and is not searched. A search that was interrupted is gone on with; one that is
    finished is not made again unless `force` is set.

    Raises:
        InputError: A mistake in options, space, data, model or storage; no run was made.
        PipelineError: No trial finished.
    """
    if parent_id is None:  # in a study others may take what this objective does not
        refuse_idle_pooling(config.explicit, [config.objective])
        refuse_idle_overlap(config.explicit, [config.long_texts])
        refuse_idle_model_labels(config.explicit, [(config.objective, config.head)])
        refuse_idle_encoder_options(config, [config.strategy])
    processes = processes or WorkerProcesses()
    plan = processes.delegate(_plan, config)
    for note in plan.inputs.notes if parent_id is None else ():
        say(note)
    with hold_lock(plan.folder / "lock", "search"):
        search = _open_search(plan)
        tracker = tracker or open_tracker()
        parent = _parent_of(search, tracker)
        lost = _is_lost(search, tracker)
        if lost:
            say("Trials of this search are not in this tracking store: it begins anew.")
        if lost or (parent is not None and _is_forced(config, parent, parent_id)):
            forget_search(plan.address)
            shutil.rmtree(plan.folder / "trials", ignore_errors=True)
            search, parent = _open_search(plan), None
        precision = processes.delegate(choose_precision, search.precision or plan.config.precision)
        finished = parent is not None and parent.status == "FINISHED"
        if parent is not None and finished and tracker.assigned_run_id() in (None, parent.run_id):
            say(f"This search is finished: run {parent.run_id}. --force true searches again.")
            result = find_winner(plan, search.trials(), parent.run_id, precision)
            show(plan, result, None if parent_id else tracker)
            return result
        work = Work(plan.config, TrialsTogether(plan, precision))
        executor = None if finished else create_executor(work, processes)
        logger = _open_run(plan, search, parent, tracker, parent_id)
        with closing(logger):
            if not finished:
                search.note(logger.run_id, precision)
                _adopt(search, tracker, logger.run_id)
            log_start(plan, logger)
            if executor is not None:
                say(f"Executor: {executor.name}, {executor.slots} trial(s) at once.")
                logger.set_tags({Tag.EXECUTOR: executor.name})
                with stopping(executor):
                    SearchLoop(plan, search, executor, tracker, logger, precision).run()
            try:
                result = find_winner(plan, search.trials(), logger.run_id, precision)
            except PipelineError:
                forget_search(plan.address)  # nothing in it is worth going on with
                raise
            if not finished:
                _settle_winner(plan, search, tracker, result)
            log_end(plan, search, logger, tracker, result)
        shutil.rmtree(plan.folder / "trials", ignore_errors=True)
    show(plan, result, None if parent_id else tracker)
    return result


def _plan(config: configs.TuneConfig) -> SearchPlan:
    return plan_search(resolve_strategy(config))


def _open_search(plan: SearchPlan) -> Search:
    return open_search(plan.address, plan.space, plan.identity, plan.config.sampler, plan.config.seed, plan.lower_is_better)


def _parent_of(search: Search, tracker: RunStore) -> Run | None:
    """The run of the search. A run that was opened in the moment before a kill is known by its tag alone."""
    if search.run_id is None:
        return next(iter(tracker.search({Tag.SEARCH: search.search_id, "stage": "tune"})), None)
    try:
        return tracker.get(search.run_id)
    except RunError:
        return None


def _is_lost(search: Search, tracker: RunStore) -> bool:
    """Whether runs of settled trials are not in this tracking store: it is another one, or they were deleted."""
    there = {run.run_id for run in tracker.search({Tag.SEARCH: search.search_id})}
    return any(trial.run_id and trial.run_id not in there for trial in search.trials())


def _is_forced(config: configs.TuneConfig, parent: Run, parent_id: str | None) -> bool:
    """Whether a search is made again: by itself one that is finished, in a forced study all but those that it began."""
    return config.force and (parent.status == "FINISHED" if parent_id is None else parent.parent_id != parent_id)


def _open_run(plan: SearchPlan, search: Search, parent: Run | None, tracker: Tracker, parent_id: str | None) -> RunLogger:
    """The run to write to: that of the interrupted search, or a new one that carries it on, as `train` does."""
    title, tags = f"tune-{plan.config.title}", {"stage": "tune", Tag.SEARCH: search.search_id}
    if parent is None:
        return tracker.start(title, parent_id, tags)
    if parent.status != "FINISHED" and parent.parent_id == parent_id and tracker.assigned_run_id() in (None, parent.run_id):
        say(f"Continuing the search of run {parent.run_id}.")
        return tracker.reopen(parent.run_id)
    logger = tracker.start(title, parent_id, {**tags, "resumes": parent.run_id})
    say(f"Run {logger.run_id} takes over the search of run {parent.run_id}.")
    if parent.status != "FINISHED":
        tracker.reopen(parent.run_id).finish("KILLED", f"continued by run {logger.run_id}")
    return logger


def _adopt(search: Search, tracker: Tracker, run_id: str) -> None:
    """Put the trials that an interrupted run has made below the one that carries the search on."""
    for run in tracker.search({Tag.SEARCH: search.search_id}):
        if run.stage != "tune" and run.parent_id != run_id:
            tracker.set_parent(run.run_id, run_id)


def _settle_winner(plan: SearchPlan, search: Search, tracker: Tracker, result: TuneResult) -> None:
    """Put the best trial's model onto its run."""
    number = next(trial.number for trial in search.trials() if trial.run_id == result.best_run_id)
    folder = plan.trial_folder(number) / NAME
    if not is_model_folder(folder):
        raise PipelineError(
            f"The model of the best trial (run {result.best_run_id}) is gone from {folder}. Give the --cache-dir that "
            "the search began with, or delete the run: the same command then searches anew."
        )
    check_model_folder(folder)
    winner = tracker.open_for_update(result.best_run_id)
    winner.log_model(folder, plan.inputs.strategy.packages)
    winner.update_model()
    winner.set_tags(result.tags)


def find_search(plan: SearchPlan, store: RunStore, parent_id: str | None = None) -> tuple[int, TuneResult | None] | None:
    """How many trials of this search are settled, and what it found if it is finished; None where nothing of it is to be used.

    Nothing is written, but for what `peek_search` says of a database.
    """
    search = peek_search(plan.address, plan.space, plan.identity)
    parent = None if search is None else _parent_of(search, store)
    try:
        if search is None or parent is None or _is_lost(search, store):
            return None
        trials = search.trials()
    except StoreError:  # the record is damaged; the search itself will say so
        return None
    settled = sum(trial.state != "running" for trial in trials)
    if _is_forced(plan.config, parent, parent_id):
        return None
    if parent.status != "FINISHED":
        return settled, None
    precision = choose_precision(search.precision or plan.config.precision)
    return settled, find_winner(plan, trials, parent.run_id, precision)
