"""What a search may spend, and what it has spent: trials, seconds of training, or examples seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline import config as configs
from pipeline.config.stage import flag
from pipeline.errors import ConfigError

Unit = Literal["trials", "train_seconds", "examples"]


@dataclass(frozen=True)
class Cost:
    """What trials spent."""

    trials: int = 0
    train_seconds: float = 0.0
    examples: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.trials + other.trials, self.train_seconds + other.train_seconds, self.examples + other.examples)

    def as_metrics(self) -> dict[str, float]:
        """Under the names that runs carry."""
        return {f"budget/{unit}": getattr(self, unit) for unit in ("trials", "train_seconds", "examples")}


@dataclass(frozen=True)
class Budget:
    """The most that a search may spend in one unit."""

    unit: Unit
    amount: float

    @classmethod
    def of(cls, config: configs.SearchConfig) -> Budget:
        """The budget that the options name; one that was typed takes the place of all that a recipe sets.

        It is what is allowed, the same for a space with fewer points than trials: such a space is searched completely.

        Raises:
            ConfigError: More than one budget was typed, or a recipe sets more than one.
        """
        options: dict[str, Unit] = {"budget_seconds": "train_seconds", "budget_examples": "examples"}
        named = [name for name in options if getattr(config, name) is not None]
        typed = [name for name in (*named, "trials") if name in config.explicit]
        chosen = typed or named
        if len(chosen) > 1:
            raise ConfigError(f"{' and '.join(map(flag, chosen))}: which budget? Give one of them.")
        if chosen and chosen != ["trials"]:
            return cls(options[chosen[0]], getattr(config, chosen[0]))
        return cls("trials", config.trials)

    def __str__(self) -> str:
        """As the results table shows it."""
        names = {"trials": "trial", "train_seconds": "second", "examples": "example"}
        return f"{self.amount:,.12g} {names[self.unit]}{'' if self.amount == 1 else 's'}"

    def allows(self, spent: Cost) -> bool:
        """Whether what was spent is within the budget."""
        return bool(getattr(spent, self.unit) <= self.amount)

    def leaves_something(self, spent: Cost) -> bool:
        """Whether another trial may begin."""
        return bool(getattr(spent, self.unit) < self.amount)

    def count_within(self, costs: Sequence[Cost]) -> int:
        """How many trials, in the order in which they were drawn, the budget pays for.

        Those that come after count for nothing, however many ran at once: the last ones would be an advantage of whoever has
        the longest trials.
        """
        spent = Cost()
        for place, cost in enumerate(costs):
            spent += cost
            if not self.allows(spent):
                return place
        return len(costs)
