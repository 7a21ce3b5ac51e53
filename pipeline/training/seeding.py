"""Independent seeds for order, initialisation and dropout, so that one can vary while the others stay."""

import hashlib
from dataclasses import dataclass
from typing import Self

from pipeline.config import FitConfig


@dataclass(frozen=True)
class Seeds:
    """One seed per source of chance; each at least 0 and below 2**31."""

    order: int
    head: int
    adapters: int
    dropout: int

    @classmethod
    def of(cls, config: FitConfig) -> Self:
        """The seeds of a configuration: `seed`, unless a source has its own."""

        def pick(own: int | None) -> int:
            return config.seed if own is None else own

        return cls(
            order=derive(pick(config.data_seed), "order"),
            head=derive(pick(config.init_seed), "head"),
            adapters=derive(pick(config.init_seed), "adapters"),
            dropout=derive(pick(config.dropout_seed), "dropout"),
        )


def derive(seed: int, purpose: str) -> int:
    """A seed for one purpose; unlike `seed + k`, seeds 1 and 2 share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}".encode()).digest()[:4]) >> 1
