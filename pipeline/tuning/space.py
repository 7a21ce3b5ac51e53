"""A search space: which hyperparameters a search may change, over which values, and the draws that need no memory."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import config as configs
from pipeline.config.fields import describe_fields
from pipeline.config.search_ranges import Choices, Range
from pipeline.errors import ConfigError, unknown
from pipeline.strategies.base import strategy_class

STUDY_SPACE: dict[str, Range] = {
    "learning_rate": Choices((2e-5, 3e-5, 5e-5)),
    "batch_size": Choices((16, 32, 64)),
    "dropout": Choices((0.1, 0.2)),
    "epochs": Choices((2, 3, 4)),
}
"""The SST-2 study's grid, of 54 points."""

SEARCHABLE = frozenset(
    {
        "learning_rate",
        "batch_size",
        "epochs",
        "dropout",
        "optimizer",
        "weight_decay",
        "warmup_ratio",
        "lr_scheduler_type",
        "max_grad_norm",
        "max_length",
        "early_stopping_patience",
    }
)
"""Options that a search may change. Data, metric and seeds are not among them: trials must be scored on the same examples,
and the best of several seeds is luck."""


@dataclass(frozen=True)
class Space:
    """Name -> range, in the order in which they were given."""

    ranges: Mapping[str, Range]

    @property
    def size(self) -> int | None:
        """Number of points; None where a range is continuous."""
        counts = [
            len(values) if (values := search_range.values()) is not None else None for search_range in self.ranges.values()
        ]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    def without(self, names: tuple[str, ...]) -> Space:
        """The space with some hyperparameters fixed, so that they are not searched."""
        return Space({name: values for name, values in self.ranges.items() if name not in names})

    def point(self, index: int) -> dict[str, Any]:
        """The point of a finite space at that place of the grid; the last name varies fastest."""
        chosen = {}
        for name, search_range in reversed(list(self.ranges.items())):
            values = search_range.values()
            assert values is not None
            index, place = divmod(index, len(values))
            chosen[name] = values[place]
        return dict(reversed(list(chosen.items())))

    def draw(self, number: int, seed: int) -> dict[str, Any]:
        """The point of the trial with that number, from 0, in a random search.

        It depends on nothing else, so a search that was killed goes on with the same points, whoever asks for them in which
        order, and a longer search begins with the points of a shorter one. Of a finite space no point comes twice.
        """
        if self.size is None:
            generator = random.Random(f"{seed}:{number}")
            return {name: search_range.draw(generator) for name, search_range in self.ranges.items()}
        return self.point(_shuffled_place(number, self.size, seed))

    def describe(self) -> dict[str, object]:
        """What a recipe would say; ready for JSON."""
        return {name: search_range.describe() for name, search_range in self.ranges.items()}

    def check_names(self, strategy: str) -> None:
        """Hold the names against what can be searched.

        Raises:
            ConfigError: A name is neither a searchable option nor an argument of the strategy; all are reported together.
        """
        arguments = set(describe_fields(strategy_class(strategy)))
        options = set(describe_fields(configs.TrainConfig))
        messages = []
        for name in self.ranges:
            if name in SEARCHABLE | arguments:
                continue
            if name in options:
                messages.append(
                    f"space: {name!r} decides what trials are compared on, or what they cost, not what they learn. "
                    f"Options that can be searched: {', '.join(sorted(SEARCHABLE))}."
                )
            else:
                messages.append("space: " + unknown(f"option or argument of {strategy}", name, SEARCHABLE | arguments))
        if messages:
            raise ConfigError(*messages)


def _shuffled_place(number: int, size: int, seed: int) -> int:
    """What stands at a place of 0..size-1 shuffled, without shuffling more than is asked for (Fisher and Yates)."""
    generator, moved = random.Random(seed), dict[int, int]()
    for place in itertools.count():
        other = generator.randrange(place, size)
        moved[place], moved[other] = moved.get(other, other), moved.get(place, place)
        if place == number:
            return moved[place]
    raise AssertionError("unreachable")
