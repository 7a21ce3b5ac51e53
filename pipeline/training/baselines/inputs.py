"""What a training begins with, whether or not it trains an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.config import TrainConfig
from pipeline.config.identity import identify
from pipeline.data.prepared import PreparedData
from pipeline.data.splits import SplitName, choose_sample
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
        """Indices of the split's rows that are used."""
        limit = self.config.max_train_samples if split == "train" else self.config.max_eval_samples
        return choose_sample(self.prepared.manifest.rows[split], limit, self.config.split_seed)

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
