"""Replace `strategy=auto` by the strategy that is advised for the data at hand."""

import dataclasses
from typing import TypeVar

from pipeline import config as configs
from pipeline.data.prepared import prepare
from pipeline.fields import describe_fields
from pipeline.modeling.addresses import find_model
from pipeline.stages.configure import configure
from pipeline.stages.progress import say
from pipeline.strategies.advice import AUTO, advise

C = TypeVar("C", bound=configs.TrainConfig)


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
    names = set(describe_fields(type(config))) - {"strategy", "strategy_args"}
    explicit = {name: getattr(config, name) for name in config.given if name in names}
    resolved = configure(
        type(config),
        explicit
        | {"recipe": config.recipe, "cache_dir": config.cache_dir, "epochs": config.epochs}
        | {"strategy": advice.strategy, "strategy_args": dict(advice.arguments)},
    )
    return dataclasses.replace(resolved, given=config.given, precision=config.precision, strategy_reason=advice.reason)
