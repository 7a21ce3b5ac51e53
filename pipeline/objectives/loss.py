"""What a loss is. Imports torch, so it is imported late."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.config.imbalance import ImbalanceConfig
from pipeline.config.stage import flag
from pipeline.data.columns import Problem
from pipeline.errors import ConfigError
from pipeline.evaluation.task import Task
from pipeline.objectives.class_weights import check_weights, class_weights
from pipeline.registry import LOSSES
from pipeline.strategies.base import Strategy

_USUAL = ImbalanceConfig()
_OF_LOSSES = ("focal_gamma", "class_weights", "label_smoothing")


class Loss(nn.Module):
    """What training makes small: a mean over examples, so that pieces of a batch count by their examples.

    A loss lives in a module of its own in `pipeline/objectives/losses`, and the module's name is the loss's name.
    """

    tasks: ClassVar[tuple[type[Task], ...]]
    """Whose outputs it is of."""
    options: ClassVar[tuple[str, ...]] = ()
    """Those of `ImbalanceConfig` that it heeds."""
    class_weights: torch.Tensor | None
    """How much an example of each class counts; shape [classes]."""

    def __init__(self, config: ImbalanceConfig = _USUAL, weights: NDArray[Any] | None = None) -> None:
        """As the options say.

        Args:
            weights: How much an example of each class counts, 1 on average; shape [classes].
        """
        super().__init__()
        self.config = config
        self.register_buffer("class_weights", None if weights is None else torch.tensor(weights, dtype=torch.float32))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean over the examples; each counts by its class, and the sum is divided by how many there are.

        Args:
            outputs: Of the model; shape [examples, outputs].
            targets: What `Task.targets` made of the labels; shape [examples].
        """
        if self.class_weights is None:
            return self.compare(outputs, targets, "mean")
        return (self.compare(outputs, targets, "none") * self.class_weights[targets.long()]).mean()

    def compare(self, outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
        """Per example, shape [examples], if `reduction` is `none`, and their mean if it is `mean`, as torch calls them."""
        raise NotImplementedError


class CosineSimilarityLoss(Loss):
    """The squared distance of cosine similarity to what it shall be: of pairs, whose first texts come first in a batch.

    sentence-transformers' loss of that name (Reimers and Gurevych 2019, arXiv:1908.10084). No task's: see `Strategy.pairs`.
    """

    tasks = ()

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean over the pairs.

        Args:
            outputs: Vectors, of all first texts and then of all second ones; shape [2 * pairs, hidden].
            targets: Shape [pairs].
        """
        first, second = outputs.float().chunk(2)
        return nn.functional.mse_loss(nn.functional.cosine_similarity(first, second), targets)


def loss_name(task: Task, config: ImbalanceConfig) -> str:
    """The loss that is asked for, or the task's own."""
    return config.loss or task.loss


def create_loss(task: Task, config: ImbalanceConfig = _USUAL, labels: NDArray[Any] | None = None) -> Loss:
    """The loss by which a task is trained.

    Args:
        labels: Of the training examples, by which classes are weighted; shape [examples].
    """
    weights = None if labels is None else class_weights(config.class_weights, getattr(task, "classes", ()), labels)
    return LOSSES.only_class(loss_name(task, config), Loss)(config, weights)


def check_loss(task: Task, config: ImbalanceConfig, problem: Problem, strategy: Strategy) -> None:
    """Refuse a loss, or an option of one, that means nothing to what trains.

    Raises:
        ConfigError: There is no such loss, or it is of other outputs, lacks an option, or is not what the strategy solves for.
    """
    name = loss_name(task, config)
    LOSSES.check(name, "--loss")
    loss = LOSSES.only_class(name, Loss)
    if not isinstance(task, loss.tasks):
        others = [other for other in LOSSES.names() if isinstance(task, LOSSES.only_class(other, Loss).tasks)]
        raise ConfigError(
            f"--loss {name}: is of other outputs than those for {problem.describe()}. Leave --loss out, or choose "
            f"{', '.join(others)}."
        )
    check_weights(config.class_weights, problem)
    for option in _OF_LOSSES:
        value = getattr(config, option)
        if value != getattr(_USUAL, option) and option not in loss.options:
            heed = [other for other in LOSSES.names() if option in LOSSES.only_class(other, Loss).options]
            raise ConfigError(
                f"{flag(option)} {value}: training is by {name}, which has none. Leave {flag(option)} out, or choose --loss "
                f"{' or '.join(heed)} where labels are classes with an output each."
            )
    if strategy.solves_head and (name != task.loss or config.label_smoothing):
        asked = f"--loss {name}" if name != task.loss else f"--label-smoothing {config.label_smoothing:g}"
        raise ConfigError(
            f"--strategy {strategy.name}: solves for cross-entropy, weighted or not, and not for {asked}. Leave that out, or "
            "choose head_only, which trains the same head by steps."
        )
