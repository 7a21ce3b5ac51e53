"""The plan of a search, checked before anything is trained: its space, its budget, and its identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import config as configs
from pipeline.config.fields import as_dict, describe_fields
from pipeline.config.identity import encoder_options, identify
from pipeline.config.search_ranges import Range
from pipeline.config.stage import flag
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.metric import lower_is_better
from pipeline.hashing import digest
from pipeline.recipes.recipe import load_recipe
from pipeline.stages.configure import replace_options
from pipeline.stages.executor import check_executor
from pipeline.strategies.base import create_strategy
from pipeline.strategies.baseline import is_baseline
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.setup import find_inputs, find_strategy, search_space
from pipeline.tuning.budget import Budget
from pipeline.tuning.search import StudyAddress
from pipeline.tuning.space import STUDY_SPACE, Space


@dataclass(frozen=True)
class SearchPlan:
    """A search whose options, space and inputs fit together."""

    config: configs.TuneConfig
    base: configs.TrainConfig
    """What is searched stands here as it would be without a search."""
    space: Space
    budget: Budget
    inputs: TrainingInputs

    @property
    def metric(self) -> str:
        """Validation metric by which trials are ranked."""
        return self.config.metric_for_best_model

    @property
    def lower_is_better(self) -> bool:
        """Whether the best trial has the lowest score."""
        return lower_is_better(self.metric)

    @property
    def most_trials(self) -> int | None:
        """How many trials there are at most; None where the budget is not in trials."""
        return _most_trials(self.config.sampler, self.space, self.budget) if self.budget.unit == "trials" else None

    @property
    def identity(self) -> str:
        """Equal for two searches that draw and train the same, wherever and however many at once."""
        options = identify(self.config)
        if "precision" not in self.config.explicit:  # what `auto` comes to is measured; a search keeps to what it began with
            options["precision"] = "auto"
        if self.config.num_processes > 1:  # with dropout another number of processes is another draw
            options["num_processes"] = self.config.num_processes
        inputs = [self.inputs.prepared.manifest.fingerprint, self.inputs.base_sha256, self.inputs.code_version]
        return digest([options, self.space.describe(), inputs])

    @property
    def name(self) -> str:
        """What the search is called in its storage and on disk."""
        return self.config.study_name or f"{self.config.strategy}-{self.identity[:16]}"

    @property
    def folder(self) -> Path:
        """Where the search keeps what must survive a kill."""
        return Path(self.config.cache_dir).absolute() / "searches" / self.name

    def trial_folder(self, number: int) -> Path:
        """Where a trial's model waits for the end of the search."""
        return self.folder / "trials" / str(number + 1)

    @property
    def address(self) -> StudyAddress:
        """Where its record is."""
        storage = self.config.storage
        return StudyAddress(storage, self.name) if storage else StudyAddress.in_file(self.folder / "search.db", self.name)

    def candidate(self, point: Mapping[str, Any], precision: str) -> configs.TrainConfig:
        """What a trial of this point trains."""
        return dataclasses.replace(replace_options(self.base, point), precision=precision)  # type: ignore[arg-type]

    def known_points(self) -> list[dict[str, Any]]:
        """The points of all trials, where they depend on nothing that a trial comes to; empty where they do."""
        return _known_points(self.config, self.space, self.budget)

    def examples_of(self, candidate: configs.TrainConfig) -> int:
        """Training examples that a trial sees, repetitions counted, if it is not ended early."""
        return self.inputs.examples_of(candidate)


def search_config(study: configs.MainConfig, plan: configs.TrainConfig) -> configs.TuneConfig:
    """The search of one strategy of a study, with the study's options for searching."""
    names = set(describe_fields(configs.SearchConfig)) - set(describe_fields(configs.FitConfig))
    options = {name: getattr(study, name) for name in (*names, "force")}
    return configs.TuneConfig(**{**as_dict(plan), "explicit": (*study.explicit, *plan.explicit), **options})


def plan_search(config: configs.TuneConfig) -> SearchPlan:
    """The search that the options ask for.

    Raises:
        InputError: A mistake in options, space, recipe, data or model; nothing was begun.
    """
    _check_name(config)
    _check_tunable(config)
    check_executor(config)
    names = describe_fields(configs.TrainConfig).keys()
    base = configs.TrainConfig(**{name: value for name, value in as_dict(config).items() if name in names - {"explicit"}})
    space = _find_space(config, base)
    budget = Budget.of(config)
    if config.sampler == "grid":
        _check_grid(config, space, budget)
    _check_points(config, base, space, budget)
    inputs = find_inputs(base)
    plan = SearchPlan(inputs.settle(config), inputs.settle(base), space, budget, inputs)
    base = plan.base
    epochs = min(space.ranges["epochs"].probes()) if "epochs" in space.ranges else base.epochs
    fewest = plan.examples_of(dataclasses.replace(base, epochs=epochs))
    if budget.unit == "examples" and fewest > budget.amount:
        raise ConfigError(f"--budget-examples {budget.amount:g}: one trial sees {fewest:,} examples at least. Give more.")
    return plan


def _find_space(config: configs.TuneConfig, base: configs.TrainConfig) -> Space:
    """What was asked for, less what was typed as an option, and less what makes a recipe's entry what it is."""
    loaded = load_recipe(config.recipe)
    unread = encoder_options(type(config)) if is_baseline(config.strategy) else frozenset[str]()
    recipe, study = (Space(ranges).without(tuple(unread)).ranges for ranges in (loaded.space_for(config.title), STUDY_SPACE))
    chosen = config.space or ("recipe" if recipe else "strategy")
    if chosen == "recipe" and not recipe:
        raise ConfigError(
            f"--space recipe: the recipe {config.recipe} has no space for {config.title}. Write one (docs/how-to/tune.md), or "
            "give --space strategy or study."
        )
    if chosen == "study" and not study:
        raise ConfigError(
            f"--space study: is of an encoder's options alone, and --strategy {config.strategy} trains none. Give --space "
            "strategy."
        )
    ranges: dict[str, Mapping[str, Range]] = {"recipe": recipe, "study": study}
    full = Space(ranges[chosen] if chosen in ranges else search_space(base))
    full.check_names(config.strategy)
    # A recipe's entry is its arguments, such as half of the layers frozen; only a space in a recipe may say otherwise.
    own = tuple(loaded.arguments_for(config.title)) if chosen == "strategy" else ()
    space = full.without((*config.explicit, *own))
    if not space.ranges:
        by_recipe = f"is set by recipe {loaded.name}"
        reasons = [f"{flag(name)} was typed" if name in config.explicit else f"{name} {by_recipe}" for name in full.ranges]
        raise ConfigError(
            f"The space of {config.title} is empty: {' and '.join(reasons)}, and what is fixed is not searched. Leave it out, "
            "give another --space, or run train."
        )
    return space


def _check_tunable(config: configs.TuneConfig) -> None:
    if not create_strategy(config.strategy, config.strategy_args).is_tunable:
        raise ConfigError(f"--strategy {config.strategy}: has nothing that a search could change. Run train instead.")


def _check_grid(config: configs.TuneConfig, space: Space, budget: Budget) -> None:
    size = space.size
    if size is None:
        endless = [name for name, search_range in space.ranges.items() if search_range.values() is None]
        raise ConfigError(
            f"--sampler grid: {' and '.join(endless)} of {config.title} is continuous and has no grid. Give --sampler "
            "random, --space study, or a recipe with lists of values."
        )
    if budget.unit != "trials" or budget.amount < size:
        raise ConfigError(
            f"--sampler grid: the grid has {size} points, and the budget is {budget}; a part of it would be no fair sample. "
            f"Give --trials {size}, or --sampler random."
        )


def _known_points(config: configs.TuneConfig, space: Space, budget: Budget) -> list[dict[str, Any]]:
    if budget.unit != "trials" or config.sampler == "tpe":
        return []
    draw = space.point if config.sampler == "grid" else lambda number: space.draw(number, config.seed)
    return [draw(number) for number in range(_most_trials(config.sampler, space, budget))]


def _most_trials(sampler: str, space: Space, budget: Budget) -> int:
    """How many trials a budget in trials comes to: no more than the space has points, but for a sampler that repeats some."""
    return int(budget.amount if sampler == "tpe" else min(budget.amount, space.size or budget.amount))


def _check_points(config: configs.TuneConfig, base: configs.TrainConfig, space: Space, budget: Budget) -> None:
    """Hold against options, strategy and model what is going to be drawn, and else each range by itself."""
    messages: dict[str, None] = {}
    points = _known_points(config, space, budget)[:_MOST_CHECKED]
    for point in points or [{name: value} for name, search_range in space.ranges.items() for value in search_range.probes()]:
        try:
            find_strategy(replace_options(base, point))
        except InputError as error:
            messages.update(dict.fromkeys(f"space: {message}" for message in error.messages))
    if messages:
        raise ConfigError(*messages)


_MOST_CHECKED = 1000


def _check_name(config: configs.TuneConfig) -> None:
    name = config.study_name
    if name is not None and (not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith(".")):
        raise ConfigError(f"--study-name {name!r}: give letters, digits, hyphens, underscores and dots alone.")
