"""Attention pooling."""

import torch
from torch import nn

from pipeline.modeling.pooling import PoolingHead


class Attention(PoolingHead):
    """Classify a weighted sum of the states of a text's tokens; a learned query scores them (Yang et al. 2016, NAACL).

    The layerwise study's head: weights are the softmax of the scores over the tokens.
    """

    def __init__(self, hidden_size: int, classes: int, dropout: float) -> None:
        super().__init__(hidden_size, classes, dropout)
        self.query = nn.Linear(hidden_size, 1, bias=False)  # a bias would change all scores alike, and so no weight

    def pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The weighted sum over the tokens, special ones included, padding not."""
        return (self.weigh(states, mask).unsqueeze(-1) * states).sum(1)

    def weigh(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """How much each token counts, 0 on padding; each text's weights sum to 1; shape [examples, length]."""
        scores = self.query(states).squeeze(-1).float()
        weights: torch.Tensor = scores.masked_fill(mask == 0, -torch.inf).softmax(-1)
        return weights
