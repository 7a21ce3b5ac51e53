"""A linear classifier on features, found by a solver instead of gradient steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.data.batching import Examples
from pipeline.errors import TrainingError
from pipeline.strategies.base import Strategy
from pipeline.strategies.parameter_plan import ParameterPlan
from pipeline.training.inference import predict_outputs

if TYPE_CHECKING:
    from torch import nn

    from pipeline.objectives.loss import Loss


@dataclass(frozen=True)
class Solution:
    """What solving came to; the model holds the classifier."""

    loss: float
    """On the training examples, without dropout and penalty."""
    iterations: int


def solve_head(
    strategy: Strategy,
    model: nn.Module,
    parameters: ParameterPlan,
    train: Examples,
    loss: Loss,
    device: Any,
    max_tokens: int | None = None,
) -> Solution:
    """Let `strategy.solve` find the classifier of `model`, whose one linear layer is all that is trained by its loss.

    Args:
        max_tokens: At most so many in a batch of texts whose features are computed.

    Raises:
        TrainingError: The features are not finite, or the strategy finds no classifier.
    """
    import numpy as np
    import torch

    name = head_layer(strategy, parameters)
    layer = model.get_submodule(name)
    with without_layer(model, name):
        features = predict_outputs(model, train, device, max_tokens)
    if not np.isfinite(features).all():
        raise TrainingError(f"{strategy.name}: what the encoder makes of the texts is not finite. Try --precision fp32.")
    classes = int(layer.get_parameter("bias").numel())
    labels = train.labels.astype(np.int64)  # copied: they may be mapped from a file
    weights = None if loss.class_weights is None else loss.class_weights.numpy()[labels]
    classifier = strategy.solve(features, labels, classes, weights)
    with torch.no_grad():
        for parameter, value in ((layer.weight, classifier.weight), (layer.bias, classifier.bias)):
            parameter.copy_(torch.from_numpy(value))  # type: ignore[operator]
    logits = torch.from_numpy(features @ classifier.weight.T + classifier.bias)
    return Solution(float(loss(logits, torch.from_numpy(labels))), classifier.iterations)


def head_layer(strategy: Strategy, parameters: ParameterPlan) -> str:
    """Name of the module whose weight and bias are all that trains; of what trains on pairs, all of the head that does.

    Raises:
        ValueError: Something else trains; the strategy has not checked what it may be used on.
    """
    trained = parameters.trainable
    names = [parameter.name for parameter in trained if parameter.location.part == "head" or not strategy.contrasts]
    modules = {name.rpartition(".")[0] for name in names}
    if len(modules) != 1 or {name.rpartition(".")[2] for name in names} != {"weight", "bias"}:
        raise ValueError(f"A solver needs one linear layer that trains, and nothing else; here train {', '.join(names)}.")
    return modules.pop()


@contextlib.contextmanager
def without_layer(model: nn.Module, name: str) -> Iterator[None]:
    """Within the block the model gives what enters the module instead of what leaves it."""
    from torch import nn

    module = model.get_submodule(name)
    model.set_submodule(name, nn.Identity())
    try:
        yield
    finally:
        model.set_submodule(name, module)
