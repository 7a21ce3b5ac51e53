"""Cross-entropy."""

import torch
from torch.nn import functional

from pipeline.evaluation.task import ClassificationTask
from pipeline.objectives.loss import Loss


class CrossEntropy(Loss):
    """Negative log-probability of the true class, the probabilities being the softmax of the outputs."""

    tasks = (ClassificationTask,)

    def compare(self, outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
        """As torch has it."""
        return functional.cross_entropy(outputs, targets, reduction=reduction)
