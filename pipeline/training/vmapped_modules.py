"""Several copies of what trains above a frozen encoder, stacked along a new first dimension and computed at once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from pipeline.config import FitConfig
from pipeline.data.batching import move
from pipeline.strategies.parameter_plan import ParameterPlan
from pipeline.training.acceleration.patches.quick_dropout import drop_stacked
from pipeline.training.optimizer import decays_weights

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # torch.optim.AdamW's


class Stack(nn.Module):
    """A model with several sets of the weights that train, each with a dropout probability of its own.

    Called like the model, it answers with the logits, shape [examples, points, classes].
    """

    weights: dict[str, torch.Tensor]
    """By name in the model; shape [points, ...]."""
    dropout: torch.Tensor
    """Shape [points]."""

    def __init__(self, model: nn.Module, parameters: ParameterPlan, dropouts: Sequence[float]) -> None:
        """Begin with the model's own weights for every point."""
        super().__init__()
        self.model = model
        named = dict(model.named_parameters())
        points = len(dropouts)
        self.weights = {
            planned.name: named[planned.name].detach().expand(points, *planned.shape).clone().requires_grad_()
            for planned in parameters.trainable
        }
        self.dropout = torch.tensor(dropouts, device=next(iter(self.weights.values())).device)

    def forward(self, **inputs: torch.Tensor) -> Any:
        """What the model makes of one batch with each point's weights."""
        from torch.func import functional_call, vmap

        def forward_point(weights: dict[str, torch.Tensor], probability: torch.Tensor) -> torch.Tensor:
            with _dropping(self.model, probability):
                output = functional_call(self.model, weights, kwargs=inputs)
            return output.logits  # type: ignore[no-any-return]

        # One draw for all, as each would draw by itself from the same seed: no point's masks depend on which train beside.
        logits = vmap(forward_point, randomness="same")(self.weights, self.dropout)
        return SimpleNamespace(logits=logits.transpose(0, 1))

    def keep(self, positions: list[int]) -> None:
        """Go on with some of the points."""
        self.weights = {name: weight.detach()[positions].requires_grad_() for name, weight in self.weights.items()}
        self.dropout = self.dropout[positions]


@contextlib.contextmanager
def _dropping(model: nn.Module, probability: torch.Tensor) -> Iterator[None]:
    """Within the block every dropout of `model` drops with this probability, which may differ from point to point."""
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    before = [module.__dict__.get("forward") for module in dropouts]
    for module in dropouts:
        module.forward = functools.partial(_drop, module, probability)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module, forward in zip(dropouts, before, strict=True):
            del module.forward
            if forward is not None:
                module.forward = forward  # type: ignore[method-assign]


def _drop(module: nn.Dropout, probability: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return drop_stacked(states, probability) if module.training else states


class StackedAdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with clipping, for stacked weights.

    Each point has its own rate, decay and largest gradient norm. What `torch.optim.AdamW` and `clip_grad_norm_` do to each by
    itself.
    """

    def __init__(self, stack: Stack, parameters: ParameterPlan, configs: Sequence[FitConfig]) -> None:
        """Begin with moments of zero."""
        self._stack, self._steps = stack, 0
        device = stack.dropout.device
        self._moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in stack.weights.items()}
        self._factors = {planned.name: planned.lr_multipliers[0] for planned in parameters.trainable}
        self._decaying = {planned.name for planned in parameters.trainable if decays_weights(planned)}
        self._decays = torch.tensor([config.weight_decay for config in configs], device=device)
        self._max_norms = torch.tensor([config.max_grad_norm for config in configs], device=device)

    def step(self, rates: Sequence[float]) -> None:
        """One step from the gradients that are there, which are then forgotten.

        Args:
            rates: The learning rate of each point.
        """
        weights = self._stack.weights
        gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
        squares = [gradient.flatten(1).float().square().sum(1) for gradient in gradients.values()]
        scale = (self._max_norms / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1)
        self._steps += 1
        corrections = [1 - beta**self._steps for beta in _BETAS]
        rate = move(torch.tensor(rates), scale.device)
        with torch.no_grad():
            for name, gradient in gradients.items():
                weight, (first, second) = weights[name], self._moments[name]

                def per_point(values: torch.Tensor, like: torch.Tensor = weight) -> torch.Tensor:
                    return values.view(-1, *[1] * (like.dim() - 1))

                own_rate = rate * self._factors[name]
                gradient = gradient * per_point(scale)
                if name in self._decaying:
                    weight.mul_(per_point(1 - own_rate * self._decays))
                first.lerp_(gradient, 1 - _BETAS[0])
                second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
                direction = first / (second.sqrt() / corrections[1] ** 0.5 + _EPSILON)
                weight.sub_(direction * per_point(own_rate / corrections[0]))
                weight.grad = None

    def keep(self, positions: list[int]) -> None:
        """Go on with some of the points."""
        self._moments = {name: (first[positions], second[positions]) for name, (first, second) in self._moments.items()}
        self._decays, self._max_norms = self._decays[positions], self._max_norms[positions]
