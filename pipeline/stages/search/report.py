"""The outcome of a search: the winner, the records on the search's run, and its message."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline import config as configs
from pipeline.config.search_ranges import find_end
from pipeline.csv_text import write_rows
from pipeline.errors import PipelineError
from pipeline.stages.progress import next_command, say
from pipeline.stages.run_record import origin_tags
from pipeline.stages.search.loop import MOST_FAILURES, is_hopeless, list_records
from pipeline.stages.search.plan import SearchPlan
from pipeline.tracking.runs import RunLogger, Tracker
from pipeline.tracking.tags import BUDGET, PREFIX, Tag
from pipeline.tuning.budget import Cost
from pipeline.tuning.plots import draw_expected_best, draw_importances, draw_trials
from pipeline.tuning.search import Search, Trial


@dataclass(frozen=True)
class TuneResult:
    """What a search found; `trials` counts those that finished."""

    run_id: str
    best_run_id: str
    best_config: configs.TrainConfig
    best_score: float
    trials: int
    tags: Mapping[str, str]
    """For runs that train what was found: which search it was, what it was allowed, and what it spent."""


def mark_unpaid(plan: SearchPlan, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, those that the budget does not pay for marked as such."""
    paid = plan.budget.count_within([trial.cost for trial in trials])
    return [trial if trial.number < paid else dataclasses.replace(trial, state="over budget") for trial in trials]


def find_winner(plan: SearchPlan, trials: Sequence[Trial], run_id: str, precision: str) -> TuneResult:
    """The best of the trials that the budget pays for; the earliest of equals.

    Raises:
        PipelineError: No trial finished.
    """
    counted = mark_unpaid(plan, trials)
    records = list_records(plan, counted)
    if not records:
        # Not of `counted`: one that failed may have cost more than the budget, and failed for its own reason.
        reasons = [f"trial {trial.number + 1}: {trial.reason}" for trial in trials if trial.state == "failed"]
        if not reasons and any(trial.state == "pruned" for trial in counted):
            reasons = [f"All trials that the budget of {plan.budget} pays for were ended early. Give more, or --pruner none."]
        elif not reasons:
            reasons = [f"One trial alone costs more than the budget of {plan.budget}. Give more."]
        ended = f"The search ended after {MOST_FAILURES} trials in a row had failed. " if is_hopeless(trials) else ""
        raise PipelineError(f"No trial of {plan.config.title} finished. {ended}" + "; ".join(reasons))
    best = counted[records[-1]]
    spent = sum((trial.cost for trial in counted if trial.state != "over budget"), Cost())
    finished = sum(trial.state in ("complete", "pruned") for trial in counted)
    halved = ", halving" if plan.config.pruner == "halving" else ""
    tags = {
        Tag.TUNED_BY: run_id,
        Tag.TUNED_TRIALS: str(finished),
        Tag.TUNING_BUDGET: f"{plan.budget}{halved}",
        **{PREFIX + name: f"{value:.12g}" for name, value in spent.as_metrics().items()},
    }
    assert best.score is not None
    return TuneResult(run_id, best.run_id, plan.candidate(best.point, precision), best.score, finished, tags)


def log_start(plan: SearchPlan, logger: RunLogger) -> None:
    """Record what is going to be searched."""
    config, space = plan.config, plan.space
    options = plan.inputs.options(config)
    fixed = {name: value for name, value in options.items() if name not in {"strategy_args", *space.ranges}}
    arguments = {name: value for name, value in config.strategy_args.items() if name not in space.ranges}
    logger.log_params({**fixed, **arguments})
    logger.set_tags(
        {
            **origin_tags("tune", config, plan.inputs.prepared.manifest.fingerprint),
            "strategy": config.strategy,
            **({Tag.ENTRY: config.entry} if config.entry else {}),
            "recipe": config.recipe,
            Tag.TUNING_BUDGET: str(plan.budget),
        }
    )
    logger.log_text(json.dumps(space.describe(), indent=1), "space.json")
    if plan.most_trials is not None and plan.most_trials < config.trials:
        say(f"The space has {space.size} points, fewer than --trials {config.trials}: all are run.")


def log_end(plan: SearchPlan, search: Search, logger: RunLogger, tracker: Tracker, result: TuneResult) -> None:
    """Record what was found, trial by trial and in pictures; a second time over does no harm."""
    trials, metric = mark_unpaid(plan, search.trials()), plan.metric
    name = f"trials/val_{metric}"
    there = {step for step, _ in tracker.history(logger.run_id, name)}
    for trial in trials:
        if trial.score is not None and trial.number + 1 not in there:
            logger.log_metrics({name: trial.score}, step=trial.number + 1)
    best = next(trial for trial in trials if trial.run_id == result.best_run_id)
    failed = sum(trial.state == "failed" for trial in trials)
    logger.log_params({f"best_{name}": value for name, value in best.point.items()})
    logger.set_tags({Tag.BEST_RUN_ID: result.best_run_id, Tag.FAILED_TRIALS: str(failed)})
    spent = {name.removeprefix(PREFIX): float(value) for name, value in result.tags.items() if name.startswith(BUDGET)}
    logger.log_metrics({f"best/val_{metric}": result.best_score, **spent}, step=len(trials))
    logger.log_text(_table(plan, trials), "trials.csv")
    logger.log_figure(draw_trials(trials, metric, plan.lower_is_better), "trials.png")
    scores = [trial.score for trial in trials if trial.state == "complete" and trial.score is not None]
    # Draws of the same kind: trials of tpe depend on the scores of earlier ones, and halving leaves the better ones alone.
    if plan.config.sampler != "tpe" and plan.config.pruner == "none":
        logger.log_figure(draw_expected_best(scores, metric, plan.lower_is_better), "expected_best.png")
    if shares := search.importances():
        logger.log_figure(draw_importances(shares), "importance.png")
        logger.log_text(json.dumps(shares, indent=1), "importance.json")


def _table(plan: SearchPlan, trials: Sequence[Trial]) -> str:
    header = ["trial", "state", f"val_{plan.metric}", *plan.space.ranges, "train_seconds", "examples", "run_id", "reason"]
    rows = []
    for trial in trials:
        point = [trial.point.get(name, "") for name in plan.space.ranges]
        score = "" if trial.score is None else trial.score
        cost = trial.cost.train_seconds, trial.cost.examples
        rows.append([trial.number + 1, trial.state, score, *point, *cost, trial.run_id, trial.reason])
    return write_rows(header, rows)


def show(plan: SearchPlan, result: TuneResult, tracker: Tracker | None) -> None:
    """Say what was found, what it cost, and what to do next unless that is being done already."""
    best = {name: getattr(result.best_config, name, result.best_config.strategy_args.get(name)) for name in plan.space.ranges}
    spent = {name.removeprefix(PREFIX): float(value) for name, value in result.tags.items() if name.startswith(BUDGET)}
    say(
        f"{plan.config.title}: best of {result.trials} trials has validation {plan.metric} {result.best_score:.4f} with "
        + ", ".join(f"{name}={value}" for name, value in best.items())
    )
    for name, search_range in plan.space.ranges.items():
        if end := find_end(search_range, best[name]):
            say(
                f"  {name} {best[name]} is among the {end} that were searched: a wider range in a recipe's space may do better."
            )
    say(
        f"  spent of a budget of {plan.budget}: {spent['budget/trials']:g} trials, {spent['budget/train_seconds']:.1f} s of "
        f"training, {spent['budget/examples']:,.0f} examples"
    )
    if tracker is not None:
        say(f"Run {result.best_run_id}. Next: {next_command('evaluate', tracker, run_id=result.best_run_id)}")
