"""Focal loss."""

import torch
from torch.nn import functional

from pipeline.evaluation.task import ClassificationTask
from pipeline.objectives.loss import Loss


class Focal(Loss):
    """Cross-entropy times (1 - p)^gamma, p being the probability of the true class: what is known surely counts less.

    Lin et al. 2017, arXiv:1708.02002, with the softmax over all classes; their factor alpha is --class-weights. With label
    smoothing the term of each class counts by its share of the target, p being that class's probability.
    """

    tasks = (ClassificationTask,)
    options = ("class_weights", "label_smoothing", "focal_gamma")

    def compare(self, outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
        """Sum over classes of target * (1 - p)^gamma * -log p."""
        logs = outputs.log_softmax(-1)
        smoothing, classes = self.config.label_smoothing, outputs.shape[-1]
        shares = functional.one_hot(targets, classes) * (1 - smoothing) + smoothing / classes
        # 1 - p as a sum of exponentials would lose what is near 0; of p = 1 a power below 1 has no gradient.
        doubts = (-torch.expm1(logs)).clamp(min=torch.finfo(logs.dtype).tiny)
        each = -(shares * doubts**self.config.focal_gamma * logs).sum(-1)
        return each.mean() if reduction == "mean" else each
