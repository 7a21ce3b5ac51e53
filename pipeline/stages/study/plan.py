"""The plan of `main`, checked before a run exists, with warnings of what makes the comparison unfair."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from pipeline import config as configs
from pipeline.atomic_io import replace_text
from pipeline.comparison.ranking import choose_ranking, refuse_long_sorting, refuse_without_probabilities
from pipeline.config.fields import SEED_LIMIT
from pipeline.config.identity import SEEDS, identify, without_encoder
from pipeline.config.stage import flag
from pipeline.data.long_texts import refuse_idle_overlap
from pipeline.errors import ConfigError, InputError
from pipeline.hashing import digest, read_with_checksum, with_checksum
from pipeline.json_text import parse_json
from pipeline.objectives.base import refuse_idle_model_labels, refuse_idle_pooling
from pipeline.recipes.recipe import Recipe, load_recipe, named_models
from pipeline.stages.configure import configure_strategy, replace_options, resolve_strategy
from pipeline.stages.executor import check_executor, describe_executor
from pipeline.stages.search.plan import plan_search, search_config
from pipeline.stages.study.fair import make_fair
from pipeline.stages.study.sizes import at_sizes
from pipeline.strategies.base import list_strategies, strategy_options
from pipeline.strategies.baseline import is_baseline
from pipeline.tracking.provenance import cpu_name
from pipeline.tracking.run_kinds import name_with_model, name_with_size, short_name
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.baselines.training import refuse_idle_encoder_options
from pipeline.training.precision import Precision, choose_precision
from pipeline.training.setup import find_inputs, find_strategy

ALL = "all"
"""Instead of names of strategies: every one that can work on the model and with the settings."""


@dataclass(frozen=True)
class StudyPlan:
    """A study whose settings, data and models were found and checked; nothing of it was begun.

    Can be handed to a process that has imported neither torch nor transformers.
    """

    config: configs.MainConfig
    precision: Precision
    """What `--precision` means here, chosen once for all strategies."""
    strategies: tuple[TrainingInputs, ...]
    """Of each strategy the training with the first seed."""
    unfit: Mapping[str, str] = field(default_factory=dict)
    """Strategies that nobody asked for by name and that cannot work here, with why."""
    at_once: str = ""
    """How trainings and tests are carried out, as a sentence; empty where one after the other in processes of this machine."""
    made_fair: tuple[str, ...] = ()
    """What `--fair` has chosen; a sentence each."""
    left_unfair: tuple[str, ...] = ()
    """What it could not make equal; a sentence each."""

    @property
    def identity(self) -> str:
        """Equal for two plans that compute the same with the same code."""
        parts = [[inputs.identity, inputs.config.num_processes, inputs.code_version] for inputs in self.strategies]
        return digest([parts, identify(self.config), self.config.force])

    def name(self, inputs: TrainingInputs) -> str:
        """What the rows of a strategy are called, with the model and the number of texts where there are several."""
        title, several = inputs.config.title, len({each.config.model for each in self.strategies if each.config.model}) > 1
        name = name_with_model(title, inputs.config.model) if several else title
        return name_with_size(name, inputs.config.train_size) if len(self.sizes) > 1 else name

    @property
    def sizes(self) -> list[int | None]:
        """On how many texts strategies are trained, ascending; None is all."""
        return list(dict.fromkeys(inputs.config.train_size for inputs in self.strategies))

    @property
    def at_largest_size(self) -> list[TrainingInputs]:
        """Of each strategy the training on most texts."""
        return [inputs for inputs in self.strategies if inputs.config.train_size == self.sizes[-1]]

    def searches(self, inputs: TrainingInputs) -> bool:
        """Whether a strategy's settings are searched first; not where it has none."""
        return self.config.tune and inputs.strategy.is_tunable

    def trainings(self, inputs: TrainingInputs) -> list[TrainingInputs]:
        """A strategy's trainings, one a seed: `--seed` and those that follow it."""
        return [inputs, *(_with_seed(inputs, inputs.config.seed + step) for step in range(1, self.config.seeds))]


def plan_study(config: configs.MainConfig) -> StudyPlan:
    """The plan of a study; data that are not prepared yet are prepared, but no run is made.

    Raises:
        InputError: A mistake in options, recipe, data or model; all that can be found together are reported together.
    """
    choose_ranking(config.label_type, config.ranking_metric)
    check_executor(config)
    precision = settle_precision(config.precision, config.cache_dir)
    fairness = make_fair([*map(resolve_strategy, at_sizes(config, _plan(config)))], config.fair)
    plans = [dataclasses.replace(plan, precision=precision) for plan in fairness.plans]
    refuse_idle_pooling(config.explicit, [plan.objective for plan in plans])
    refuse_idle_overlap(config.explicit, [plan.long_texts for plan in plans])
    refuse_idle_model_labels(config.explicit, [(plan.objective, plan.head) for plan in plans])
    refuse_idle_encoder_options(config, [plan.strategy for plan in plans])
    strategies, unfit = _check_strategies(plans, named=not _is_open(config))
    _check_ranking(config, strategies)
    fitting = [inputs.config for inputs in strategies]
    _check_seeds(config.seeds, fitting)
    if config.tune:
        _check_searches(config, [inputs.config for inputs in strategies if inputs.strategy.is_tunable])
    poolings = {plan.pooling for plan in fitting if plan.model}
    pooling = poolings.pop() if len(poolings) == 1 else config.pooling
    settled = dataclasses.replace(config, precision=precision, pooling=pooling)
    return StudyPlan(settled, precision, tuple(strategies), unfit, _describe_workers(config), fairness.notes, fairness.doubts)


def _describe_workers(config: configs.MainConfig) -> str:
    if config.workers == 1 and config.executor in ("auto", "batched", "local"):
        return ""
    return f"Trainings and tests run {describe_executor(config)}."


def settle_precision(option: str, cache_dir: str) -> Precision:
    """The precision; that of `auto` is kept in the cache folder, for this hardware and version of torch.

    Raises:
        ConfigError: This machine does not compute in the precision that was asked for.
    """
    if option != "auto":
        return choose_precision(option)
    file = Path(cache_dir) / "precision" / f"{_machine()[:16]}.json"
    with contextlib.suppress(OSError, ValueError):
        text = file.read_text(encoding="utf-8")
        # Older versions wrote the name alone, which nothing that is damaged can look like.
        kept = parse_json(text) if text.startswith('"') else read_with_checksum(text)
        if kept in get_args(Precision):
            return choose_precision(str(kept))
    precision = choose_precision(option)
    replace_text(file, with_checksum(precision))
    return precision


def _machine() -> str:
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return digest([cpu_name(), cuda, torch.get_num_threads(), version("torch")])


def _plan(config: configs.MainConfig) -> list[configs.TrainConfig]:
    """A checked train config per strategy; all mistakes are reported together."""
    recipe = load_recipe(config.recipe)
    plans: list[configs.TrainConfig] = []
    messages: list[str] = []
    names = list_strategies() if _is_open(config) else config.strategies or tuple(recipe.strategies)
    _check_models(config, recipe)
    pairs = (
        (strategy, None if "model" in recipe.own_options_of(strategy) or is_baseline(recipe.strategy_of(strategy)) else model)
        for model in config.models or (None,)
        for strategy in names
    )
    # An entry's own model is the only one that it is trained on, once; so is none.
    for strategy, model in dict.fromkeys(pairs):
        try:
            plan = configure_strategy(config, strategy, model)
            plans.append(without_encoder(plan) if is_baseline(plan.strategy) else plan)
        except InputError as error:
            messages += error.messages
    if messages:
        raise ConfigError(*dict.fromkeys(messages))
    return plans


def _check_models(config: configs.MainConfig, recipe: Recipe) -> None:
    """Refuse several models beside one, one of them twice, and a revision, which only one can have.

    Raises:
        ConfigError: As said.
    """
    if not config.models:
        return
    given = config.explicit if "models" in config.explicit else (*config.explicit, *recipe.options)
    for name in ("model", "model_revision"):
        if name in given:
            where = "" if "models" in config.explicit else f", the latter by recipe {recipe.name}"
            raise ConfigError(f"{flag(name)} and --models are both given{where}. Give one of them.")
    twice = sorted({model for model in config.models if config.models.count(model) > 1})
    if twice:
        raise ConfigError(f"--models: {', '.join(twice)} is named twice. Name each model once.")
    short = [short_name(model) for model in config.models]
    alike = [model for model, name in zip(config.models, short, strict=True) if short.count(name) > 1]
    if alike:
        raise ConfigError(
            f"--models: {' and '.join(alike)} have the same last name, so rows could not be told apart. Rename one."
        )


def _is_open(config: configs.MainConfig) -> bool:
    """Whether neither the user nor the recipe named strategies."""
    return config.strategies == (ALL,) or not (config.strategies or load_recipe(config.recipe).strategies)


def _check_strategies(plans: Sequence[configs.TrainConfig], named: bool) -> tuple[list[TrainingInputs], dict[str, str]]:
    """What those need that can work on model and data, and why the others cannot.

    Of several models each strategy need work on one only, and each model with one strategy only.

    Raises:
        InputError: None can, or one cannot that was named; all of these are reported together.
    """
    fitting: list[TrainingInputs] = []
    unfit: dict[str, str] = {}
    failed: list[tuple[configs.TrainConfig, InputError]] = []
    several = len({plan.model for plan in plans if plan.model}) > 1
    for plan in plans:
        try:
            find_strategy(plan)  # before the data are read
            fitting.append(find_inputs(plan))
        except InputError as error:
            failed.append((plan, error))
            unfit[name_with_model(plan.title, plan.model) if several else plan.title] = " ".join(error.messages)
    titles, models = {inputs.config.title for inputs in fitting}, {inputs.config.model for inputs in fitting}
    if failed and not models - {""} and len(set(unfit.values())) == 1:
        raise failed[0][1]  # model or data, whatever the strategy
    messages: dict[str, None] = {}
    for plan, reason in failed:
        if not fitting or (plan.model and plan.model not in models) or (named and plan.title not in titles):
            where = f"{plan.entry}: " if plan.entry else ""
            messages.update(dict.fromkeys(where + message for message in reason.messages))
    if messages and named and fitting and not several:
        others = f"The others can be compared: --strategies {','.join(inputs.config.title for inputs in fitting)}"
        messages[others] = None
    if messages:
        raise ConfigError(*messages)
    return fitting, unfit


def _check_seeds(seeds: int, plans: Sequence[configs.TrainConfig]) -> None:
    """Refuse seeds that would repeat one training: the spread over them would be nought, and say nothing."""
    sources = [name for name in SEEDS if name != "seed"]
    fixed = [plan.title for plan in plans if all(getattr(plan, name) is not None for name in sources)]
    if seeds > 1 and fixed:
        raise ConfigError(
            f"--seeds {seeds}: {', '.join(map(flag, sources))} are all given, so every training of {', '.join(fixed)} would be "
            "the same. Leave one of them out, or take --seeds 1."
        )
    highest = max(plan.seed for plan in plans) + seeds - 1
    if highest >= SEED_LIMIT:
        raise ConfigError(f"--seeds {seeds}: the last seed would be {highest}, above {SEED_LIMIT - 1}. Lower --seed.")


def _check_ranking(config: configs.MainConfig, strategies: Sequence[TrainingInputs]) -> None:
    """Refuse a metric by which the rows could not be ranked once they are trained.

    Raises:
        ConfigError: As said.
    """
    metric = choose_ranking(config.label_type, config.ranking_metric)
    without = [inputs.config.title for inputs in strategies if metric.name not in inputs.objective.task.metrics]
    refuse_without_probabilities(metric, list(dict.fromkeys(without)))
    first, texts = strategies[0], strategies[0].count("test")
    refuse_long_sorting(metric, texts, len(first.prepared.manifest.classes), len(strategies) * config.seeds)


def _check_searches(config: configs.MainConfig, plans: Sequence[configs.TrainConfig]) -> None:
    """Refuse what could not be searched; all mistakes are reported together."""
    messages: dict[str, None] = {}
    for plan in plans:
        try:
            plan_search(search_config(config, plan))
        except InputError as error:
            messages.update(dict.fromkeys(error.messages))
    if messages:
        raise ConfigError(*messages)


def _with_seed(inputs: TrainingInputs, seed: int) -> TrainingInputs:
    return dataclasses.replace(inputs, config=replace_options(inputs.config, {"seed": seed}))


def find_doubts(plan: StudyPlan) -> list[str]:
    """Settings that were chosen for something else, or for nothing; a sentence each, with the way out."""
    config, recipe = plan.config, load_recipe(plan.config.recipe)
    plans = [inputs.config for inputs in plan.strategies if not inputs.strategy.is_solved]
    lines = list(plan.left_unfair)
    rates = {plan.strategy for plan in plans if "learning_rate" in strategy_options(plan.strategy)}
    without = [plan.title for plan in plans if plan.title not in recipe.strategies and plan.strategy not in rates]
    without = list(dict.fromkeys(without))
    if without and recipe.strategies and not config.tune and "learning_rate" not in config.explicit:
        lines.append(
            f"Recipe {config.recipe} knows no learning rate for {', '.join(without)}: the default suits full tuning. "
            "Add --tune true, or give rates in a recipe of your own (docs/explanation/studies.md)."
        )
    explicit = set(config.explicit)
    models, known = config.models or (config.model,), named_models(recipe.options)
    changed = ["model"] if explicit & {"model", "models"} and not all(model in known for model in models) else []
    options = ("dataset", *configs.PART_FILES)
    changed += [name for name in options if name in explicit and getattr(config, name) != recipe.options.get(name)]
    other = dict.fromkeys("dataset" if name in configs.PART_FILES else name for name in changed)
    if other and len(without) < len({each.title for each in plans}) and not config.tune and "learning_rate" not in explicit:
        lines.append(
            f"The learning rates of recipe {config.recipe} were chosen for another {' and '.join(other)}. "
            "For a fair comparison add --tune true."
        )
    if len(plan.sizes) > 1 and len(without) < len({each.title for each in plans}) and not config.tune:
        lines.append(
            "Learning rates are the same for every number of labelled texts; what suits many need not suit few. "
            "For a fair comparison add --tune true, which searches them at each."
        )
    return lines
