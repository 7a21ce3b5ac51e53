"""Replace `strategy=auto` by the strategy that is advised for the data at hand."""

import dataclasses
from typing import TypeVar

from pipeline import config as configs
from pipeline.data.prepared import prepare
from pipeline.modeling.addresses import find_model
from pipeline.recipes.recipe import load_recipe
from pipeline.stages.configure import replace_options
from pipeline.stages.progress import say
from pipeline.strategies.advice import AUTO, advise

C = TypeVar("C", bound=configs.TrainConfig)
_ADVISED_FOR = ("epochs", "max_train_samples")


def resolve_strategy(config: C) -> C:
    """The config as it is, or with `auto` replaced by a strategy, its recipe's settings and the reason.

    The data are prepared where they are not yet: how many there are decides. No run is made.

    Raises:
        InputError: Model or data cannot be used.
    """
    if config.strategy != AUTO:
        return config
    address = find_model(config.model, config.model_revision)
    prepared, _ = prepare(config.dataset, config)
    examples = min(prepared.manifest.rows["train"], config.max_train_samples or prepared.manifest.rows["train"])
    advice = advise(examples, config.epochs, address.encoder)
    arguments = "".join(f", {name}={value}" for name, value in advice.arguments.items())
    say(f"auto takes {advice.strategy}{arguments}: {advice.reason}.")
    recipe = load_recipe(config.recipe)
    # What was typed stays, and so does what the advice was given for.
    own = {
        name: value
        for name, value in recipe.own_options_of(advice.strategy).items()
        if name not in config.given and name not in _ADVISED_FOR
    }
    taken = dataclasses.replace(config, strategy=advice.strategy, strategy_args={}, strategy_reason=advice.reason)
    return replace_options(taken, {**own, **recipe.arguments_for(advice.strategy), **advice.arguments})
