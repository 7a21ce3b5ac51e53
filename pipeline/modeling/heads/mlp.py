"""A hidden layer on the first token."""

import torch
from torch import nn

from pipeline.modeling.pooling import PoolingHead


class Mlp(PoolingHead):
    """Classify the first token's state by a network with one hidden layer, as RoBERTa's own head does.

    Liu et al. 2019, arXiv:1907.11692. Dropout, a dense layer as wide as the encoder, tanh, dropout, a linear layer; all of it
    new, on every family.
    """

    reads_first_token = True

    def __init__(self, hidden_size: int, classes: int, dropout: float) -> None:
        super().__init__(hidden_size, classes, dropout)
        self.dense = nn.Linear(hidden_size, hidden_size)

    def pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The hidden layer's output for the first position."""
        return torch.tanh(self.dense(self.dropout(states[:, 0])))
