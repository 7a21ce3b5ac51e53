"""Counts the bytes of tensors that are alive, by what they are for. Imports torch, so it is imported late.

torch's own `MemTracker` does the same and more, but refuses a model that is called twice, as in a batch of two pieces.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

Kind = Literal["weights", "gradients", "optimizer", "activations"]


class TensorMemory(TorchDispatchMode):
    """Within the block, what every operator makes is counted from then on until it is freed.

    A storage that several tensors share counts once. What C++ code holds for itself, such as the buffers of a matrix product,
    is not seen.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()
        self._kinds: Any = WeakIdKeyDictionary()
        self._hooked: Any = WeakIdKeyDictionary()
        self._making: Kind = "activations"
        self.now: dict[Kind, int] = {"weights": 0, "gradients": 0, "optimizer": 0, "activations": 0}
        self.at_peak = dict(self.now)
        """Bytes of each kind when all together are at their highest."""
        self.highest = dict(self.now)
        """Bytes of each kind at its own highest."""

    def count_model(self, model: nn.Module) -> None:
        """Count parameters and buffers as weights, and as gradients what those that train now will get."""
        for tensor in (*model.parameters(), *model.buffers()):
            self._count(tensor, "weights")
        for parameter in model.parameters():
            if parameter.requires_grad and parameter not in self._hooked:
                self._hooked[parameter] = parameter.register_post_accumulate_grad_hook(self._count_gradient)

    @contextlib.contextmanager
    def making(self, kind: Kind) -> Iterator[None]:
        """Within the block new tensors are of a kind; elsewhere they are activations."""
        self._making = kind
        try:
            yield
        finally:
            self._making = "activations"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let the operator run, and count what it has made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf)
        return made

    def _count_gradient(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self._count(parameter.grad, "gradients")

    def _count(self, tensor: torch.Tensor, kind: Kind | None = None) -> None:
        """Count a tensor's storage if it is new, as another kind if one is given."""
        storage = tensor.untyped_storage()
        entry = self._kinds.get(storage)
        if entry is None:
            entry = self._kinds[storage] = [kind or self._making, storage.nbytes()]
            weakref.finalize(storage, self._free, entry)
            self._add(entry[0], entry[1])
        elif kind and entry[0] != kind:
            self.now[entry[0]] -= entry[1]
            entry[0] = kind
            self._add(kind, entry[1])

    def _free(self, entry: list[Any]) -> None:
        self.now[entry[0]] -= entry[1]

    def _add(self, kind: Kind, size: int) -> None:
        self.now[kind] += size
        self.highest[kind] = max(self.highest[kind], self.now[kind])
        if sum(self.now.values()) > sum(self.at_peak.values()):
            self.at_peak = dict(self.now)
