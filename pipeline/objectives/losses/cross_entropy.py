"""Cross-entropy."""

import torch
from torch.nn import functional

from pipeline.evaluation.task import ClassificationTask
from pipeline.objectives.loss import Loss


class CrossEntropy(Loss):
    """Negative log-probability of the true class, the probabilities being the softmax of the outputs.

    With label smoothing e and K classes the target is 1 - e + e / K for the true class and e / K for each other (Szegedy et al.
    2016, arXiv:1512.00567, section 7).
    """

    tasks = (ClassificationTask,)
    options = ("class_weights", "label_smoothing")

    def compare(self, outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
        """As torch has it."""
        smoothing = self.config.label_smoothing
        return functional.cross_entropy(outputs, targets, reduction=reduction, label_smoothing=smoothing)
