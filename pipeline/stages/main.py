"""The whole study of a recipe: prepare, tune if asked, train every strategy, evaluate, compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import config as configs
from pipeline.errors import ConfigError, InputError, PipelineError
from pipeline.fields import as_dict, describe_fields
from pipeline.hashing import digest
from pipeline.recipes.recipe import load_recipe
from pipeline.stages import compare, evaluate, prepare_data, train, tune
from pipeline.stages.advise import resolve_strategy
from pipeline.stages.children import Children
from pipeline.stages.configure import configure_strategy
from pipeline.stages.inputs import find_inputs, find_strategy
from pipeline.stages.progress import say
from pipeline.stages.transfer import find_transfer
from pipeline.strategies.registry import list_strategies
from pipeline.tracking import open_tracker
from pipeline.tracking.provenance import git_commit
from pipeline.tracking.runs import Tracker, close_unfinished, closing
from pipeline.training.precision import choose_precision


@dataclass(frozen=True)
class StudyResult:
    """A finished study."""

    run_id: str
    comparison: compare.CompareResult


def run(config: configs.MainConfig, tracker: Tracker | None = None) -> StudyResult:
    """Run the study as nested runs below one parent, each training in a process of its own.

    A strategy that fails does not stop the others; the study then ends with an error that names it.

    Raises:
        InputError: A mistake in options, recipe, data or model; no run was made.
        PipelineError: A strategy failed; the table of the others was made nevertheless.
    """
    config = dataclasses.replace(config, precision=choose_precision(config.precision))  # once, for all strategies
    plans = [dataclasses.replace(plan, precision=config.precision) for plan in map(resolve_strategy, _plan(config))]
    _check_strategies(plans)
    for plan in plans:
        inputs = find_inputs(plan)
    if config.transfer_dataset:
        classes = inputs.prepared.manifest.classes
        find_transfer(config.transfer_dataset, config.transfer_labels, classes, config.cache_dir, config.split_seed)
    tracker = tracker or open_tracker()
    children = Children()
    with closing(tracker.start(f"study-{config.recipe}")) as logger:
        logger.log_params(configs.identity(config))
        logger.set_tags(
            {
                "stage": "main",
                "recipe": config.recipe,
                "config_hash": digest([configs.identity(plan) for plan in plans]),
                "git_commit": git_commit(),
            }
        )
        say(f"Study {config.recipe}: {', '.join(plan.strategy for plan in plans)}. Run {logger.run_id}")
        for line in _doubts(config, plans):
            say(line)
        names = describe_fields(configs.PrepareDataConfig)
        shared = {name: value for name, value in as_dict(config).items() if name in names}
        prepare_data.run(configs.PrepareDataConfig(**shared), tracker, logger.run_id)
        failures = []
        for plan in plans:
            try:
                _run_strategy(plan, config, tracker, children, logger.run_id)
            except PipelineError as error:
                close_unfinished(tracker, logger.run_id, str(error))
                say(f"{plan.strategy} failed: {error}")
                failures.append(f"{plan.strategy}: {error}")
        if len(failures) == len(plans):
            raise PipelineError("No strategy could be trained and evaluated. " + "; ".join(failures))
        comparison = compare.run(
            configs.CompareConfig(study=logger.run_id, export_dir=config.export_dir, cache_dir=config.cache_dir),
            tracker,
            logger.run_id,
        )
        say("Browse the runs: mlflow ui   (then open http://127.0.0.1:5000)")
        if failures:
            raise PipelineError(
                f"{len(failures)} of {len(plans)} strategies failed and are not in the table. " + "; ".join(failures)
            )
    return StudyResult(logger.run_id, comparison)


def _plan(config: configs.MainConfig) -> list[configs.TrainConfig]:
    """A checked train config per strategy; all mistakes are reported together."""
    recipe = load_recipe(config.recipe)
    plans: list[configs.TrainConfig] = []
    messages: list[str] = []
    for strategy in config.strategies or tuple(recipe.strategies) or tuple(list_strategies()):
        try:
            plans.append(configure_strategy(config, strategy))
        except InputError as error:
            messages += error.messages
    if messages:
        raise ConfigError(*messages)
    return plans


def _doubts(config: configs.MainConfig, plans: Sequence[configs.TrainConfig]) -> list[str]:
    """What makes a comparison unfair: settings that were chosen for something else, or for nothing."""
    recipe = load_recipe(config.recipe)
    lines = []
    without = [plan.strategy for plan in plans if plan.strategy not in recipe.strategies]
    if without and recipe.strategies and "learning_rate" not in config.given:
        lines.append(
            f"Note: recipe {config.recipe} knows no learning rate for {', '.join(without)}: the default, or the grid around "
            "it, suits full fine-tuning. Give rates, or a space to search, in a recipe of your own (docs/studies.md)."
        )
    given = set(config.given)
    other = [name for name in ("model", "dataset") if name in given and getattr(config, name) != recipe.options.get(name)]
    if other and len(without) < len(plans) and not config.tune and "learning_rate" not in given:
        lines.append(
            f"Note: the learning rates of recipe {config.recipe} were chosen for another {' and '.join(other)}. "
            "For a fair comparison add --tune true."
        )
    return lines


def _check_strategies(plans: Sequence[configs.TrainConfig]) -> None:
    """Hold every strategy against the model, so that all that cannot work are named together."""
    messages: list[str] = []
    fitting = []
    for plan in plans:
        try:
            find_strategy(plan)
            fitting.append(plan.strategy)
        except ConfigError as error:
            messages += error.messages
    if messages and fitting:
        messages.append(f"The others can be compared: --strategies {','.join(fitting)}")
    if messages:
        raise ConfigError(*messages)


def _run_strategy(
    plan: configs.TrainConfig, config: configs.MainConfig, tracker: Tracker, children: Children, study: str
) -> None:
    tags = {}
    if config.tune:
        search = configs.TuneConfig(**{**as_dict(plan), "given": config.given, "trials": config.trials})
        found = tune.run(search, tracker, study, children)
        plan, tags = found.best_config, {"tuned_by": found.run_id, "tuned_trials": str(found.trials)}
    trained = children.call(train.run, plan, parent_id=study, tags=tags)
    evaluation = configs.EvaluateConfig(
        run_id=trained.run_id,
        cache_dir=plan.cache_dir,
        transfer_dataset=config.transfer_dataset,
        transfer_labels=config.transfer_labels,
    )
    children.call(evaluate.run, evaluation, parent_id=study)
