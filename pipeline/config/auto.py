"""On what `--strategy auto` rests."""

from __future__ import annotations

from typing import Annotated, Literal

from pipeline.config.fields import Operational, config_class
from pipeline.config.stage import MostUsed, StageConfig


@config_class
class AutoConfig(StageConfig):
    """On what `--strategy auto` rests."""

    auto: Annotated[Literal["measured", "rule"], Operational(), MostUsed(4)] = "measured"
    """What --strategy auto goes by. measured: validation scores of the nearest finished study of the same data in the tracking
    store or, without one, of the table that comes with this project; rule: the number of training examples alone."""
