"""Counts the bytes of tensors that are alive, by what they are for. Imports torch, so it is imported late.

torch's own `MemTracker` does the same and more, but refuses a model that is called twice, as in a batch of two pieces.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

KINDS = WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS = "weights", "gradients", "optimizer", "activations"


@dataclass
class _Storage:
    """What is known of memory that is alive."""

    kind: str
    size: int


class TensorMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the block, what every operator makes is counted from then on until it is freed.

    A storage that several tensors share counts once. What C++ code holds for itself, such as the buffers of a matrix product,
    is not seen.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages: Any = WeakIdKeyDictionary()
        self._hooked: Any = WeakIdKeyDictionary()
        self._making = ACTIVATIONS
        self.now = dict.fromkeys(KINDS, 0)
        self.at_peak = dict(self.now)
        """Bytes of each kind when all together are at their highest."""
        self.highest = dict(self.now)
        """Bytes of each kind at its own highest."""

    def count_model(self, model: nn.Module) -> None:
        """Count parameters and buffers as weights, and as gradients what those that train now will get."""
        for tensor in (*model.parameters(), *model.buffers()):
            self._count(tensor, WEIGHTS)
        for parameter in model.parameters():
            if parameter.requires_grad and parameter not in self._hooked:
                self._hooked[parameter] = parameter.register_post_accumulate_grad_hook(self._count_gradient)  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def making(self, kind: str) -> Iterator[None]:
        """Within the block new tensors are of a kind; elsewhere they are activations."""
        self._making = kind
        try:
            yield
        finally:
            self._making = ACTIVATIONS

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let the operator run, and count what it has made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided:  # a sparse one is made of others
                self._count(leaf)
        return made

    def _count_gradient(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self._count(parameter.grad, GRADIENTS)

    def _count(self, tensor: torch.Tensor, kind: str | None = None) -> None:
        """Count a tensor's storage if it is new, as another kind if one is given."""
        storage = tensor.untyped_storage()
        known: _Storage | None = self._storages.get(storage)
        if known is None:
            known = self._storages[storage] = _Storage(kind or self._making, storage.nbytes())
            weakref.finalize(storage, self._free, known)
            self._add(known)
        elif kind and known.kind != kind:
            self._free(known)
            known.kind = kind
            self._add(known)

    def _free(self, storage: _Storage) -> None:
        self.now[storage.kind] -= storage.size

    def _add(self, storage: _Storage) -> None:
        self.now[storage.kind] += storage.size
        self.highest[storage.kind] = max(self.highest[storage.kind], self.now[storage.kind])
        if sum(self.now.values()) > sum(self.at_peak.values()):
            self.at_peak = dict(self.now)
