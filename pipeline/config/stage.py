"""What the options of all stages share, and the headings below which `--help` shows them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pipeline.config.fields import Group, Names, NonNegative, Operational, config_class

# Headings of `--help`; a field says below which of them its option is shown, and its place there: the most used first.
HEADINGS = ("Most used", "Data", "Model", "Training", "Search", "Runs and files")
MostUsed, Data, Model, Training, Search, Files = (partial(Group, heading) for heading in HEADINGS)


@config_class
class StageConfig:
    """What every stage takes."""

    cache_dir: Annotated[str, Operational(), Files(6)] = ".cache"
    """Folder for prepared data, token tables, hidden states, checkpoints and searches. If you delete it, all of
    these are made again, trials of searches and interrupted trainings included. Runs stay in the tracking store."""
    store_patience_seconds: Annotated[NonNegative, Operational(), Files(9)] = 600.0
    """How long a tracking server or database may be away. Meanwhile training goes on, and what it measures is recorded
    later; everything else waits. After that the command ends with a checkpoint and exit status 1. A server that is not there
    when the command begins is said at once."""
    explicit: Annotated[Names, Operational()] = ()
    """Names of the options and strategy arguments that were typed: a recipe's strategies and grid do not change them."""


def flag(name: str) -> str:
    """The option as it is typed: `learning_rate` -> `--learning-rate`."""
    return "--" + name.replace("_", "-")
