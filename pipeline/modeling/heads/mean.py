"""Mean pooling."""

import torch

from pipeline.modeling.pooling import PoolingHead


class Mean(PoolingHead):
    """Classify the mean of the states of a text's tokens (Reimers and Gurevych 2019, arXiv:1908.10084)."""

    is_linear = True

    def pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The mean over the tokens, special ones included, padding not."""
        return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
