"""All that one training needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config import FitConfig
from pipeline.data.text_pairs import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.evaluation.readings import Reading
from pipeline.modeling.encoder import Encoder
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing.parameter_plan import ParameterPlan
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.precision import Precision
from pipeline.training.prefix_cache import PrefixCache

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FitPlan:
    """All that training needs."""

    model: nn.Module
    encoder: Encoder
    parameters: ParameterPlan
    train: TokenTable | TextPairs
    validation: TokenTable | TextPairs
    reading: Reading
    """What the model's outputs mean."""
    pad_id: int
    config: FitConfig
    precision: Precision
    checkpoints: CheckpointFolder
    strategy: Strategy
    """Asked for its `after_step`, and for the state that it keeps beside the weights; what trains is in `parameters`."""
    prefix_cache: PrefixCache | None = None
    """Where hidden states of frozen layers are kept; without it they are computed for every batch."""
    base_identity: object = None
    """Identifies the base's weights as they were loaded."""

    @property
    def largest_batch(self) -> int:
        """Tokens after padding; nothing else is computed in larger batches, so that peak memory is training's."""
        return math.ceil(self.config.batch_size / self.config.num_processes) * int(self.train.lengths.max())

    @property
    def longest_text(self) -> int:
        """Tokens of the longest training text, which the model can therefore take."""
        table = self.train.texts if isinstance(self.train, TextPairs) else self.train
        return int(table.lengths.max())

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""
        return math.ceil(len(self.train) / self.config.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.steps_per_epoch * self.config.epochs

    def evaluation_is_due(self, step: int) -> bool:
        """Whether validation data are scored after this step."""
        every = self.config.eval_steps or self.steps_per_epoch
        return step % every == 0 or step == self.total_steps
