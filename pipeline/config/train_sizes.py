"""Options that say on how many labelled texts a model is trained, and at how many such numbers a study is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.config.fields import Count, Expects, OfEncoder, config_class
from pipeline.config.stage import Data, MostUsed, StageConfig, flag
from pipeline.errors import ConfigError

ALL = "all"
"""Instead of a number: every text that there is."""


def _read_size(value: object) -> object:
    """None stands for all."""
    return None if isinstance(value, str) and value.strip() == ALL else value


def _read_sizes(value: object) -> object:
    """`("32", "all")` of what was typed, or of what YAML holds: numbers, or a single one."""
    if isinstance(value, str):
        value = value.split(",")
    elif isinstance(value, int):
        value = [value]
    return tuple(text for part in value if (text := str(part).strip())) if isinstance(value, Sequence) else value


def _order_sizes(sizes: tuple[str, ...]) -> tuple[str, ...]:
    """Ascending, one spelling each; two that are equal stay for whoever refuses them."""
    numbers = sorted(int(size) for size in sizes if size != ALL)
    if any(number < 1 for number in numbers):
        raise ValueError("must be 1 or more")
    return (*map(str, numbers), *(ALL for size in sizes if size == ALL))


TrainSize = Annotated[Count | None, BeforeValidator(_read_size), Expects("a whole number of at least 1, or all")]
TrainSizes = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_sizes),
    AfterValidator(_order_sizes),
    Expects("whole numbers of at least 1, separated by commas, the last one may be all, such as 32,128,512,all"),
]


@config_class
class TrainSizeConfig(StageConfig):
    """On how many labelled texts a model is trained and chosen."""

    train_size: Annotated[TrainSize, Data(7)] = None
    """Train on so many labelled texts, stratified and drawn anew for each --seed: a smaller number is part of a larger one, and
    all strategies get the same. They are drawn from what --max-train-samples leaves; all, if not given, takes every one."""
    validation_size: Annotated[Literal["full", "proportional"], Data(7)] = "full"
    """With --train-size: full keeps all validation texts; proportional takes the same share of them as of train."""
    epoch_size: Annotated[Count | None, OfEncoder(), Data(7)] = None
    """With --train-size: texts in an epoch. Fewer are passed over again, shuffled anew, until there have been so many; so
    trainings on few and on many texts take as many steps. If not given, an epoch is one pass."""


@config_class
class CurveConfig(StageConfig):
    """At how many labelled texts a study is repeated."""

    train_sizes: Annotated[TrainSizes, MostUsed(17)] = Field(default=())
    """Repeat the study at these numbers of labelled texts, separated by commas, such as 32,128,512,2048,all (--train-size says
    what one is), and draw the learning curve of every strategy."""
    hold: Annotated[Literal["steps", "epochs"], MostUsed(17)] = "steps"
    """With --train-sizes: steps trains at each size for as many steps as at the largest one (see --epoch-size); epochs passes
    over fewer texts as often as over many, which is quicker and leaves small sizes few steps."""


def refuse_idle_sizes(config: TrainSizeConfig) -> None:
    """Refuse what says something of a number of texts where none is given, and epochs that are less than one pass.

    Raises:
        ConfigError: As said.
    """
    if config.train_size is None:
        given = {"validation_size": "full", "epoch_size": None}
        idle = [f"{flag(name)} {value}" for name, usual in given.items() if (value := getattr(config, name)) != usual]
        if idle:
            raise ConfigError(f"{' and '.join(idle)}: needs --train-size with a number. Add it, or leave that out.")
    elif config.epoch_size is not None and config.epoch_size < config.train_size:
        raise ConfigError(
            f"--epoch-size {config.epoch_size}: is less than the {config.train_size} texts of --train-size, of which each "
            "epoch reads all. Raise it, or leave it out."
        )
