"""A model cut in two: frozen lower layers with the embeddings, and what is above them, which trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.modeling.encoder import EncoderSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


class _ReachedError(Exception):
    """Carries the hidden states out of a forward pass that need not go on."""

    def __init__(self, hidden_states: torch.Tensor) -> None:
        self.hidden_states = hidden_states


def plain_model(model: nn.Module) -> nn.Module:
    """The model that peft has wrapped, or the model itself."""
    get_base_model: Any = getattr(model, "get_base_model", None)
    plain: nn.Module = get_base_model() if get_base_model else model
    return plain


@dataclass(frozen=True)
class SplitModel:
    """Where a model, plain or wrapped by peft, is cut: below `layer`, counted from 0 at the bottom.

    The model itself stays whole. `run_lower` computes what enters `layer`; within `upper_only()` the model takes that as
    `inputs_embeds` and computes the rest.
    """

    model: nn.Module
    encoder: EncoderSpec
    layer: int

    @property
    def keeps_first_token_only(self) -> bool:
        """Whether nothing above the cut reads any token but the first."""
        return self.layer == self.encoder.depth and self.encoder.reads_first_token

    def run_lower(self, **inputs: torch.Tensor) -> torch.Tensor:
        """What `layer` is given, without dropout and gradient: shape [examples, length or 1, hidden]."""
        import torch

        was_training = self.model.training
        self.model.eval()
        calls = 0

        def before(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            if calls == self.layer:  # not what the layer below returned: DeBERTa convolves it first
                raise _ReachedError(given[0] if given else named["hidden_states"])

        def after(_module: nn.Module, _given: object, returned: Any) -> None:
            nonlocal calls
            calls += 1  # layers that share weights are called again and again
            if calls == self.encoder.depth:
                raise _ReachedError(returned[0] if self.encoder.family.layers_return_tuples else returned)

        layers = self._layers()
        hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
        hooks += [layer.register_forward_hook(after) for layer in layers]
        try:
            with torch.no_grad():
                self.model(**inputs)
        except _ReachedError as reached:
            hidden_states = reached.hidden_states
        finally:
            for hook in hooks:
                hook.remove()
            self.model.train(was_training)
        return hidden_states[:, :1] if self.keeps_first_token_only else hidden_states

    @contextlib.contextmanager
    def upper_only(self) -> Iterator[None]:
        """Within the block the model computes only what is above the cut, from `inputs_embeds`."""
        layers = self._layers()
        shared = len(layers) < self.encoder.depth  # then the cut is above all of them, the only place where it can be
        family = self.encoder.family
        below = [f"{self.encoder.layers}.{i}" for i in range(len(layers) if shared else self.layer)]
        between = [f"{family.base_prefix}.{name}" for name in family.between_layers]
        outside = [name for name in (*self.encoder.embeddings, *between) if _has(self._plain, name)]
        replaced = {name: self._plain.get_submodule(name) for name in (*outside, *below)}
        try:
            for name, module in replaced.items():
                stand_in = _stand_in(module, family.layer_attributes, family.layers_return_tuples and name in below)
                self._plain.set_submodule(name, stand_in)
            yield
        finally:
            for name, module in replaced.items():
                self._plain.set_submodule(name, module)

    @property
    def _plain(self) -> nn.Module:
        return plain_model(self.model)

    def _layers(self) -> list[nn.Module]:
        return list(self._plain.get_submodule(self.encoder.layers).children())


def _stand_in(module: nn.Module, attributes: Iterable[str], returns_tuple: bool) -> nn.Module:
    """A module that hands on what it is given, in place of one whose output it is given; with those attributes that it has."""
    import torch
    from torch import nn

    stand_in = nn.Identity()
    own = next((parameter for parameter in module.parameters() if parameter.is_floating_point()), None)
    if own is not None:
        # Of no size: the type of a model that asks for it is that of its parameters, of which none may be left.
        stand_in.typed = nn.Parameter(torch.empty(0, dtype=own.dtype, device=own.device), requires_grad=False)
    forward: Any = _hand_on_in_tuple if returns_tuple else _hand_on
    stand_in.forward = forward  # type: ignore[method-assign]
    for name in attributes:
        if hasattr(module, name):
            setattr(stand_in, name, getattr(module, name))
    return stand_in


def _hand_on(
    *given: Any, inputs_embeds: torch.Tensor | None = None, hidden_states: torch.Tensor | None = None, **_: Any
) -> torch.Tensor:
    """The hidden states: the first argument of a layer or a projection; `inputs_embeds`, after absent ids, of embeddings."""
    named = inputs_embeds if inputs_embeds is not None else hidden_states
    states: torch.Tensor = named if named is not None else next(item for item in given if item is not None)
    return states


def _hand_on_in_tuple(*given: Any, **named: Any) -> tuple[torch.Tensor, None]:
    """The hidden states as a layer returns them that adds its attention weights."""
    return _hand_on(*given, **named), None


def _has(model: nn.Module, name: str) -> bool:
    try:
        model.get_submodule(name)
    except AttributeError:
        return False
    return True
