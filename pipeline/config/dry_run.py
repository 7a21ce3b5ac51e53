"""Options of a dry run, which says what a command would do."""

from __future__ import annotations

from typing import Annotated

from pipeline.config.fields import Operational, Rate, config_class
from pipeline.config.stage import MostUsed, StageConfig, flag
from pipeline.errors import ConfigError


@config_class
class DryRunConfig(StageConfig):
    """Whether anything is run, and what it has to fit into."""

    dry_run: Annotated[bool, Operational(), MostUsed(17)] = False
    """Print what would be trained, with its forecast peak memory (of a study also what is reused, and the time by past runs),
    and run nothing."""
    device_memory_gb: Annotated[Rate | None, Operational(), MostUsed(18)] = None
    """With --dry-run true: memory of the machine or GPU in GiB; says what fits into it, and the largest batch that does."""


def refuse_idle_memory(config: DryRunConfig) -> None:
    """Refuse the memory of a device where nothing is forecast.

    Raises:
        ConfigError: It would say nothing.
    """
    if config.device_memory_gb is not None and not config.dry_run:
        raise ConfigError(
            f"{flag('device_memory_gb')} {config.device_memory_gb:g}: is asked by a dry run alone. Add {flag('dry_run')} true, "
            "or leave it out."
        )
