"""Binary cross-entropy."""

import torch
from torch.nn import functional

from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.objectives.loss import Loss


class BinaryCrossEntropy(Loss):
    """Negative log-probability of what is true of each label, the probabilities being sigmoids; the mean over labels."""

    tasks = (MultiLabelTask,)

    def compare(self, outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
        """As torch has it, a figure an example."""
        losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(dim=1)
        return losses if reduction == "none" else losses.mean()
