"""What a training begins with, whether or not it trains an encoder."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.config import TrainConfig
from pipeline.config.identity import identify
from pipeline.data.columns import LABEL
from pipeline.data.prepared import PreparedData
from pipeline.data.splits import SplitName, choose_sample
from pipeline.data.subsets import check_size, nested_subset
from pipeline.hashing import digest
from pipeline.objectives.base import Objective
from pipeline.strategies.base import AnyStrategy
from pipeline.training.precision import Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


ConfigT = TypeVar("ConfigT", bound=TrainConfig)


@dataclass(frozen=True)
class TrainingInputs(ABC):
    """Data and strategy of one training, whether or not it trains an encoder.

    Any process can take them over and ask what tells this training from others: that imports neither torch nor transformers.
    """

    config: TrainConfig
    """Settled: see `settle`."""
    strategy: AnyStrategy
    prepared: PreparedData
    objective: Objective
    base_sha256: str = ""
    """Of the encoder's files; empty where none is trained."""
    notes: tuple[str, ...] = ()
    """What a user should know of the model's weights and outputs, as sentences."""
    inferred: Mapping[str, Any] = field(default_factory=dict)
    """What was read off the model where no file describes its family; else empty."""

    @property
    def identity(self) -> str:
        """Equal for two trainings that compute the same."""
        return digest([self._options, self.prepared.manifest.fingerprint, self.base_sha256])

    def config_hash(self, precision: Precision) -> str:
        """Equal for configurations that compute the same, once it is known what `--precision` means."""
        return digest({**self._options, "precision": precision})

    @property
    def _options(self) -> dict[str, Any]:
        """The options that decide what is computed, and what was inferred."""
        return {**identify(self.config), **({"inferred": self.inferred} if self.inferred else {})}

    def sample(self, split: SplitName) -> NDArray[np.int64]:
        """Indices of the split's rows that are used, ascending."""
        config, manifest = self.config, self.prepared.manifest
        there = choose_sample(manifest.rows[split], self._limit(split), config.split_seed)
        if (count := self.count(split)) == len(there):
            return there
        labels = self.prepared.read(split)[LABEL].iloc[there]
        return there[nested_subset(labels, len(manifest.classes), count, [config.split_seed, config.seed])]

    def count(self, split: SplitName) -> int:
        """How many of the split's rows are used."""
        config, there = self.config, self._available(split)
        if split == "test" or config.train_size is None:
            return there
        if split == "train":
            return min(config.train_size, there)
        if config.validation_size == "full":
            return there
        share = config.train_size / self._available("train")
        return min(there, max(round(there * share), self._present(split)))

    @property
    def examples_per_epoch(self) -> int:
        """Training examples, those that are passed over again in an epoch counted again."""
        return max(self.count("train"), self.config.epoch_size or 0)

    def examples_of(self, config: TrainConfig) -> int:
        """Training examples that a training with these settings sees, repetitions counted, if it is not ended early."""
        del config  # what trains no encoder passes once over them
        return self.count("train")

    def check_size(self) -> None:
        """Refuse a `--train-size` that the data do not have, or that is too small for their classes.

        Raises:
            ConfigError: As said.
        """
        if (size := self.config.train_size) is not None:
            check_size(f"--train-size {size}:", size, self.prepared.manifest, self.config.max_train_samples)

    def _available(self, split: SplitName) -> int:
        """Rows of the split from which those are drawn that are used."""
        return min(self.prepared.manifest.rows[split], self._limit(split) or sys.maxsize)

    def _limit(self, split: SplitName) -> int | None:
        return self.config.max_train_samples if split == "train" else self.config.max_eval_samples

    def _present(self, split: SplitName) -> int:
        """How many classes or labels stand in the split; of scores there are none."""
        return sum(count > 0 for count in self.prepared.manifest.rows_by_class[split])

    @property
    @abstractmethod
    def code_version(self) -> str:
        """Equal where the code that decides what this training computes is the same."""

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """Of the whole training."""

    @abstractmethod
    def settle(self, config: ConfigT) -> ConfigT:
        """The configuration as this training has it: with what the model's folder says, or less what no encoder reads."""

    @abstractmethod
    def describe(self, precision: Precision) -> str:
        """On what is trained and how, to follow "full on"."""

    @abstractmethod
    def options(self, config: TrainConfig) -> dict[str, Any]:
        """Of the options that identify a configuration those that this training reads, for a run's params."""

    @abstractmethod
    def computation(self, precision: Precision) -> dict[str, str]:
        """Params of a run that say in which types it computes."""

    @abstractmethod
    def work(self, precision: Precision) -> dict[str, str]:
        """Params in which a past run agrees that took as long for an example."""
