"""What a loss is. Imports torch, so it is imported late."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from pipeline.evaluation.task import Task
from pipeline.registry import LOSSES


class Loss(nn.Module):
    """What training makes small: a mean over examples, so that pieces of a batch count by their examples.

    A loss lives in a module of its own in `pipeline/objectives/losses`, and the module's name is the loss's name.
    """

    tasks: ClassVar[tuple[type[Task], ...]]
    """Whose outputs it is of."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean over the examples.

        Args:
            outputs: Of the model; shape [examples, outputs].
            targets: What `Task.targets` made of the labels; shape [examples].
        """
        return self.compare(outputs, targets, "mean")

    def compare(self, outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
        """Per example, shape [examples], if `reduction` is `none`, and their mean if it is `mean`, as torch calls them."""
        raise NotImplementedError


def create_loss(task: Task) -> Loss:
    """The loss by which a task is trained."""
    return LOSSES.only_class(task.loss, Loss)()
