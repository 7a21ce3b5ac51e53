"""Activations of frozen layers on disk, computed once and shared by epochs, trials and seeds.

An entry is a ragged table without padding, in the type in which the run computes. It is written beside and renamed, so it is
there whole or not at all; processes that want the same entry wait for the first of them. When the folder would outgrow its
limit, the least recently used entries are evicted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pipeline.data.batching import Batch, Examples, TokenExamples, inference_batches, load_batch, mask_padding
from pipeline.data.tokenization import Labels, TokenTable
from pipeline.errors import TrainingError
from pipeline.hashing import digest, find_damage, is_sealed, seal
from pipeline.json_text import parse_json
from pipeline.modeling.split_model import SplitModel

if TYPE_CHECKING:
    import torch


GIB = 2**30
_FORMAT = 3
_STATES, _ABOUT, _WRITING = "states.bin", "about.json", ".writing-"
_LOG = logging.getLogger(__name__)

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
            piece = buffer[row, :length]
            if os.preadv(self.file.fileno(), [piece.data], int(start) * row_bytes) != piece.nbytes:
                raise TrainingError(f"{self.file.name} ends early: it was changed by another program. Run the command again.")
        return states, lengths


@dataclass(frozen=True)
class ActivationCache:
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
        """The hidden states of `table`, from disk or computed now; None if they do not fit into the bound, or onto the disk.

        Args:
            identity: All that decides the states beside the token ids: weights, layer, type.
            lengths: Hidden states to keep per example, from its first token on; shape [examples].
            batches: Indices of the examples to compute at once; every example once.
        """
        entry = self.folder / digest([_FORMAT, identity, _hash_tokens(table), int(lengths.sum())])[:16]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock(entry.name).acquire():
                self._remove_leftovers(but=entry.name)
                states = _open(entry, offsets, found=True)
                if states is None:
                    shutil.rmtree(entry, ignore_errors=True)
                    states = self._build(entry, offsets, batches, compute)
                if states is not None:
                    os.utime(entry)
                return states
        except OSError as error:
            _LOG.warning(
                "Hidden states of frozen layers cannot be kept in %s (%s): they are computed anew.", self.folder, error
            )
            return None

    def _build(
        self, entry: Path, offsets: NDArray[np.int64], batches: list[NDArray[np.int64]], compute: Compute
    ) -> HiddenStates | None:
        scratch = self.folder / f"{_WRITING}{entry.name}"
        shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed; the lock keeps others out
        scratch.mkdir()
        try:
            about = self._write(scratch / _STATES, offsets, batches, compute, entry)
            if about is None:
                return None
            (scratch / _ABOUT).write_text(json.dumps(about))
            seal(scratch)
            scratch.replace(entry)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return _open(entry, offsets, found=False)

    def _write(
        self, path: Path, offsets: NDArray[np.int64], batches: list[NDArray[np.int64]], compute: Compute, entry: Path
    ) -> dict[str, Any] | None:
        """Compute all states into a file; returns what is to be known of it, None if it would not fit into the bound."""
        import torch

        began = time.perf_counter()
        about: dict[str, Any] = {}
        with path.open("wb", buffering=0) as file:
            for indices in batches:
                states = compute(indices)
                row_bytes = states.shape[2] * states.dtype.itemsize
                if not about:
                    about = {"width": states.shape[2], "dtype": str(states.dtype).removeprefix("torch.")}
                    if not self._make_room(int(offsets[-1]) * row_bytes, entry.name):
                        return None
                rows = states.cpu().contiguous().view(torch.uint8).numpy()
                for row, index in enumerate(indices):
                    piece = rows[row, : offsets[index + 1] - offsets[index]]
                    if os.pwrite(file.fileno(), piece.data, int(offsets[index]) * row_bytes) != piece.nbytes:
                        raise OSError("the disk is full")
        return about | {"build_seconds": time.perf_counter() - began}

    def _make_room(self, needed: int, mine: str) -> bool:
        """Delete the least recently used entries until `needed` bytes fit into the bound; False if they never will.

        An entry that another process is opening or writing is passed over; one that is open is read on by whoever has it.
        """
        if needed > self.max_bytes:
            return False
        entries = sorted((path for path in self.folder.iterdir() if (path / _ABOUT).is_file()), key=_last_use)
        total = sum(map(_bytes, entries)) + needed
        for entry in entries:
            if total <= self.max_bytes:
                break
            with self._unless_held(entry.name, mine) as free:
                if free:
                    total -= _bytes(entry)
                    shutil.rmtree(entry, ignore_errors=True)
        return True

    def _remove_leftovers(self, but: str) -> None:
        """Delete what killed processes have left half written."""
        for scratch in self.folder.glob(f"{_WRITING}*"):
            with self._unless_held(scratch.name.removeprefix(_WRITING), but) as free:
                if free:
                    shutil.rmtree(scratch, ignore_errors=True)

    @contextlib.contextmanager
    def _unless_held(self, name: str, mine: str) -> Iterator[bool]:
        """Hold an entry's lock for the block; False if that is mine already, or another process's."""
        if name == mine:
            yield False
            return
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _lock(self, name: str) -> FileLock:
        return FileLock(self.folder / f"{name}.lock")


def _open(entry: Path, offsets: NDArray[np.int64], found: bool) -> HiddenStates | None:
    """The entry if it is there and whole."""
    import torch

    if not is_sealed(entry):
        return None
    if damaged := find_damage(entry, (_STATES, _ABOUT)):
        _LOG.warning("Hidden states of frozen layers are damaged (%s): they are computed anew.", entry / damaged)
        return None
    try:
        about = parse_json((entry / _ABOUT).read_text())
        dtype, width = getattr(torch, about["dtype"]), about["width"]
        if not isinstance(dtype, torch.dtype) or _bytes(entry) != int(offsets[-1]) * width * dtype.itemsize:
            return None  # of another version
        file = (entry / _STATES).open("rb", buffering=0)
        return HiddenStates(file, offsets, width, dtype, float(about["build_seconds"]), found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _hash_tokens(table: TokenTable) -> str:
    hashed = hashlib.sha256(np.ascontiguousarray(table.ids).data)
    hashed.update(np.ascontiguousarray(table.offsets).data)
    if table.segments is not None:
        hashed.update(np.ascontiguousarray(table.segments).data)
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


@dataclass(frozen=True)
class HiddenStateExamples:
    """Examples as the hidden states that enter the layer at which a model is cut."""

    tokens: TokenExamples
    split_model: SplitModel

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per example, so that batches are the same ones with and without the cache; shape [examples]."""
        return self.tokens.lengths

    @property
    def labels(self) -> Labels:
        """Index of the class, or the score; shape [examples]."""
        return self.tokens.labels

    @property
    def text_index(self) -> NDArray[np.int64] | None:
        """Of which text each example is a piece, ascending; shape [examples]."""
        return self.tokens.text_index

    @property
    def pad_id(self) -> int:
        """The token that stands for padding; what enters a layer is padded by zeros."""
        return self.tokens.pad_id

    @property
    def longest(self) -> int:
        """Tokens of the longest text, which the model can therefore take."""
        return self.tokens.longest

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded."""
        raise NotImplementedError

    def as_model_input(self) -> AbstractContextManager[None]:
        """The model begins above the cut."""
        return self.split_model.upper_only()


@dataclass(frozen=True)
class CachedExamples(HiddenStateExamples):
    """Hidden states that were computed before."""

    states: HiddenStates

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded, on the CPU."""
        import torch

        states, lengths = self.states.read(indices)
        inputs = {"inputs_embeds": states, "attention_mask": mask_padding(lengths)}
        tokens = self.lengths[indices]
        shape = len(indices), int(tokens.max())
        return Batch(inputs, torch.from_numpy(self.labels[indices]), int(tokens.sum()), shape)


@dataclass(frozen=True)
class RecomputedExamples(HiddenStateExamples):
    """Hidden states that are computed for every batch."""

    device: Any
    dtype: torch.dtype

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, padded, on the model's device."""
        batch = load_batch(self.tokens, indices, self.device)
        states = self.split_model.run_lower(**batch.inputs).to(self.dtype)
        mask = batch.inputs["attention_mask"][:, : states.shape[1]]
        return replace(batch, inputs={"inputs_embeds": states, "attention_mask": mask})


def split_examples(
    split_model: SplitModel,
    tokens: TokenExamples,
    device: Any,
    dtype: torch.dtype,
    cache: ActivationCache | None,
    base: object,
    on_progress: Callable[[int, int], None],
    max_tokens: int,
) -> Examples:
    """The examples as a model takes them whose layers below the cut are frozen.

    Args:
        dtype: In which the hidden states are kept.
        cache: Where they are kept; None to compute them for every batch.
        base: Identifies the weights below the cut and the type in which they compute.
        on_progress: Told (examples, of how many) while the states are computed for the cache.
        max_tokens: Size of a batch, after padding, in which they are computed.
    """
    recomputed = RecomputedExamples(tokens, split_model, device, dtype)
    if cache is None:
        return recomputed
    done = 0

    def compute(indices: NDArray[np.int64]) -> torch.Tensor:
        nonlocal done
        states = recomputed.batch(indices).inputs["inputs_embeds"]
        done += len(indices)
        on_progress(done, len(tokens.lengths))
        return states

    lengths = np.ones_like(tokens.lengths) if split_model.keeps_first_token_only else tokens.lengths
    batches = inference_batches(tokens.lengths, device, max_tokens)
    states = cache.find_or_build([base, split_model.layer, str(dtype)], tokens.table, lengths, batches, compute)
    return recomputed if states is None else CachedExamples(tokens, split_model, states)
