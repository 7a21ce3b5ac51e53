"""Hidden states on disk: what frozen layers make of a set of texts, computed once and shared by epochs, trials and seeds.

An entry is a ragged table without padding, in the type in which the run computes. It is written beside and renamed, so it is
there whole or not at all; processes that want the same entry wait for the first of them. When the folder outgrows its bound,
the entries that were used least recently go.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from pipeline.data.tokenization import TokenTable
from pipeline.hashing import digest, hash_file

if TYPE_CHECKING:
    import torch

GIB = 2**30
_FORMAT = 1
_STATES, _ABOUT = "states.bin", "about.json"

Compute = Callable[[NDArray[np.int64]], "torch.Tensor"]
"""Indices of examples -> their hidden states, shape [examples, length, hidden], in the type that is stored."""


@dataclass(frozen=True)
class HiddenStates:
    """A ragged table of hidden states: example i is rows `offsets[i]` to `offsets[i + 1]` of the file."""

    file: BinaryIO
    """Stays open, so that the states can be read on when another process evicts them."""
    offsets: NDArray[np.int64]
    """Shape [examples + 1]."""
    width: int
    dtype: torch.dtype
    build_seconds: float
    """What it cost to compute, whoever did."""
    found: bool
    """Whether it was there already."""

    def read(self, indices: NDArray[np.int64]) -> tuple[torch.Tensor, NDArray[np.int64]]:
        """States of some examples, zero on padding, and their lengths: shapes [examples, longest, hidden] and [examples].

        Read, not memory-mapped: pages of a mapped file would count as the process's memory.
        """
        import torch

        lengths = self.offsets[indices + 1] - self.offsets[indices]
        states = torch.zeros(len(indices), int(lengths.max()), self.width, dtype=self.dtype)
        row_bytes = self.width * self.dtype.itemsize
        buffer = states.view(torch.uint8).numpy()
        for row, (start, length) in enumerate(zip(self.offsets[indices], lengths, strict=True)):
            os.preadv(self.file.fileno(), [buffer[row, :length].data], int(start) * row_bytes)
        return states, lengths


@dataclass(frozen=True)
class PrefixCache:
    """A folder of hidden states."""

    folder: Path
    max_bytes: int

    def find_or_build(
        self,
        identity: object,
        table: TokenTable,
        lengths: NDArray[np.int64],
        batches: list[NDArray[np.int64]],
        compute: Compute,
    ) -> HiddenStates | None:
        """The hidden states of `table`, from disk or computed now; None if they would not fit into the bound.

        Args:
            identity: All that decides the states beside the token ids: weights, layer, type.
            lengths: Hidden states to keep per example, from its first token on; shape [examples].
            batches: Indices of the examples to compute at once; every example once.
        """
        entry = self.folder / digest([_FORMAT, identity, _hash_tokens(table)])[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{entry.name}.lock"):
            found = _open(entry, found=True)
            if found is None:
                shutil.rmtree(entry, ignore_errors=True)
                if not self._write(entry, lengths, batches, compute):
                    return None
                found = _open(entry, found=False)
        os.utime(entry)
        self._evict(entry)
        return found

    def _write(self, entry: Path, lengths: NDArray[np.int64], batches: list[NDArray[np.int64]], compute: Compute) -> bool:
        import torch

        scratch = self.folder / f".writing-{entry.name}"
        shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed; the lock keeps others out
        scratch.mkdir()
        began = time.perf_counter()
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        about: dict[str, Any] = {}
        with (scratch / _STATES).open("wb", buffering=0) as file:
            for indices in batches:
                states = compute(indices)
                row_bytes = states.shape[2] * states.dtype.itemsize
                about = {"width": states.shape[2], "dtype": str(states.dtype).removeprefix("torch.")}
                if offsets[-1] * row_bytes > self.max_bytes:
                    shutil.rmtree(scratch)
                    return False
                rows = states.cpu().contiguous().view(torch.uint8).numpy()
                for row, index in enumerate(indices):
                    length = offsets[index + 1] - offsets[index]
                    os.pwrite(file.fileno(), rows[row, :length].data, int(offsets[index]) * row_bytes)
        np.save(scratch / "offsets.npy", offsets)
        about |= {"build_seconds": time.perf_counter() - began, "sha256": hash_file(scratch / _STATES)}
        (scratch / _ABOUT).write_text(json.dumps(about))
        scratch.replace(entry)
        return True

    def _evict(self, keep: Path) -> None:
        """Delete the least recently used entries until the folder is within its bound. A process that reads one reads on."""
        entries = sorted((path for path in self.folder.iterdir() if (path / _ABOUT).is_file()), key=_last_use)
        total = sum(map(_bytes, entries))
        for entry in entries:
            if total <= self.max_bytes:
                break
            if entry != keep:
                total -= _bytes(entry)
                shutil.rmtree(entry, ignore_errors=True)


def _open(entry: Path, found: bool) -> HiddenStates | None:
    """The entry if it is there and whole."""
    import torch

    try:
        about = json.loads((entry / _ABOUT).read_text())
        if hash_file(entry / _STATES) != about["sha256"]:
            return None
        offsets = np.load(entry / "offsets.npy")
        dtype = getattr(torch, about["dtype"])
        file = (entry / _STATES).open("rb", buffering=0)
        return HiddenStates(file, offsets, about["width"], dtype, about["build_seconds"], found)
    except (OSError, ValueError, KeyError):
        return None


def _hash_tokens(table: TokenTable) -> str:
    import hashlib

    hashed = hashlib.sha256(np.ascontiguousarray(table.ids).data)
    hashed.update(np.ascontiguousarray(table.offsets).data)
    return hashed.hexdigest()


def _last_use(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:  # another process has deleted it
        return 0.0


def _bytes(entry: Path) -> int:
    try:
        return (entry / _STATES).stat().st_size
    except OSError:
        return 0
