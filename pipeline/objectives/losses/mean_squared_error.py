"""Mean squared error."""

import torch
from torch.nn import functional

from pipeline.evaluation.task import RegressionTask, ThresholdTask
from pipeline.objectives.loss import Loss


class MeanSquaredError(Loss):
    """Squared difference of the one output and the score, or 0 or 1 for two classes."""

    tasks = (RegressionTask, ThresholdTask)
    options = ("class_weights",)

    def compare(self, outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
        """As torch has it."""
        return functional.mse_loss(outputs.squeeze(1), targets, reduction=reduction)
