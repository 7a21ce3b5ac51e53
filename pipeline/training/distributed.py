"""One training by several processes on one machine, each with a share of every batch (data-parallel training).

`DistributedContext` is a process that trains alone: it does everything itself and imports nothing. `ProcessGroup` is one of
several, under torch's DistributedDataParallel (Li et al. 2020, arXiv:2006.15704). The loop calls the same methods of either, in
the same order in every process: a call that waits for the others would otherwise wait for ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.config import FitConfig
from pipeline.data.batching import cut_batch
from pipeline.errors import ConfigError
from pipeline.training.seeding import derive

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")

# Process 0 may compute hidden states for hours while the others wait. A process that dies is noticed by who started it.
_PATIENCE = timedelta(days=7)


def check_processes(config: FitConfig) -> None:
    """Hold `--num-processes` against batch size and GPUs.

    Raises:
        ConfigError: A process would never have an example, or no GPU of its own.
    """
    count = config.num_processes
    if count == 1:
        return
    if count > config.batch_size:
        raise ConfigError(
            f"--num-processes {count} exceeds --batch-size {config.batch_size}: the processes share every batch. Give at most "
            f"--num-processes {config.batch_size}, or larger batches."
        )
    import torch

    if torch.cuda.is_available() and count > torch.cuda.device_count():
        raise ConfigError(
            f"--num-processes {count} exceeds the {torch.cuda.device_count()} GPUs of this machine: each process needs one. "
            f"Give at most --num-processes {torch.cuda.device_count()}."
        )


def check_pieces(config: FitConfig) -> None:
    """Hold `--gradient-accumulation-steps` and `--auto-batch` against batch size and processes.

    Raises:
        ConfigError: There are more pieces than examples, or several processes would have to agree on their number.
    """
    pieces, processes = config.gradient_accumulation_steps, config.num_processes
    if config.auto_batch and processes > 1:
        raise ConfigError(
            f"--auto-batch true with --num-processes {processes}: where one process runs out of memory the others wait for it. "
            "Leave --auto-batch out, and give --gradient-accumulation-steps."
        )
    most = config.batch_size // processes
    if pieces > most:
        shared = f" shared by --num-processes {processes}" if processes > 1 else ""
        raise ConfigError(
            f"--gradient-accumulation-steps {pieces} cuts batches into more pieces than they have examples (--batch-size "
            f"{config.batch_size}{shared}). Give at most --gradient-accumulation-steps {most}, or larger batches."
        )


@dataclass(frozen=True)
class Share:
    """What one process computes of a batch, or a piece of that."""

    indices: NDArray[np.int64]
    """At least one example, so that the process takes part in the exchange of gradients."""
    weight: float
    """Factor of the mean loss over `indices`: its mean over processes is then the mean loss over the batch. 0 if none of the
    batch is for this process."""

    def cut(self, pieces: int) -> list[Share]:
        """The share in so many pieces, or one an example; their weighted losses add up to its own."""
        return [Share(piece, self.weight * (len(piece) / len(self.indices))) for piece in cut_batch(self.indices, pieces)]


class DistributedContext:
    """A process that trains alone."""

    rank = 0
    size = 1

    def accelerator_options(self) -> dict[str, Any]:
        """What accelerate has to know to let the processes meet."""
        return {}

    def seed(self, seed: int) -> int:
        """A seed of this process's own."""
        return seed

    def share(self, batch: NDArray[np.int64]) -> Share:
        """This process's part of a batch."""
        return Share(batch, 1.0)

    def wrap(self, model: nn.Module, phase: int) -> nn.Module:
        """The model as it is trained in a phase: it exchanges the gradients of what requires them now."""
        return model

    def parts(self, batch: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The parts of a batch that are computed each by itself; none is empty."""
        return [batch]

    def average(self, losses: list[torch.Tensor]) -> list[torch.Tensor]:
        """The same list, with the weighted loss of every step replaced by its mean over processes."""
        return losses

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of some work."""
        return items

    def gather(self, value: T) -> list[T]:
        """Every process's value, in order of rank."""
        return [value]

    def broadcast(self, question: Callable[[], T]) -> T:
        """What process 0 answers, which alone is asked."""
        return question()

    def agree(self, question: Callable[[], bool], now: bool) -> bool:
        """What process 0 answers, if `now`, else False: asking at every step would be waiting at every step."""
        return question()

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Process 0 goes through the block alone, then the others."""
        yield

    def destroy(self) -> None:
        """Part from the other processes."""


class ProcessGroup(DistributedContext):
    """One of several processes; alive between the making of the accelerator and `destroy`."""

    def __init__(self) -> None:
        """Wait for the accelerator to let the processes meet."""
        self._wrapped: tuple[int, nn.Module] | None = None

    @property
    def rank(self) -> int:  # type: ignore[override]
        """Number of this process, from 0."""
        return _torch_distributed().get_rank()  # type: ignore[no-any-return]

    @property
    def size(self) -> int:  # type: ignore[override]
        """How many processes there are."""
        return _torch_distributed().get_world_size()  # type: ignore[no-any-return]

    def accelerator_options(self) -> dict[str, Any]:
        """Wait long for one another."""
        from accelerate import InitProcessGroupKwargs

        return {"kwargs_handlers": [InitProcessGroupKwargs(timeout=_PATIENCE)]}

    def seed(self, seed: int) -> int:
        """Process 0 has the seed of a process that trains alone, the others derive theirs."""
        return derive(seed, f"process {self.rank}") if self.rank else seed

    def share(self, batch: NDArray[np.int64]) -> Share:
        """Every `size`-th example, so that short and long ones, which a batch has in order, are dealt out evenly."""
        mine = batch[self.rank :: self.size]
        return Share(mine if len(mine) else batch[:1], len(mine) * self.size / len(batch))

    def wrap(self, model: nn.Module, phase: int) -> nn.Module:
        """Wrapped anew when the phase changes: torch looks once, at the beginning, at what requires gradients."""
        from torch.nn.parallel import DistributedDataParallel

        if self._wrapped is None or self._wrapped[0] != phase:
            self._wrapped = None  # the old one takes its hooks off the parameters
            device = next(model.parameters()).device
            devices = [device.index] if device.type == "cuda" else None
            wrapped = DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False)
            self._wrapped = phase, wrapped
        return self._wrapped[1]

    def parts(self, batch: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The processes' shares."""
        return [batch[rank :: self.size] for rank in range(min(self.size, len(batch)))]

    def average(self, losses: list[torch.Tensor]) -> list[torch.Tensor]:
        """One exchange for all steps."""
        import torch

        if losses:
            sums = torch.stack(losses).double()
            _torch_distributed().all_reduce(sums)
            losses[:] = (sums / self.size).unbind()
        return losses

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Every `size`-th item."""
        return items[self.rank :: self.size]

    def gather(self, value: T) -> list[T]:
        """Every process's value, in order of rank."""
        values: list[Any] = [None] * self.size
        _torch_distributed().all_gather_object(values, value)
        return values

    def broadcast(self, question: Callable[[], T]) -> T:
        """What process 0 answers; the others wait for it."""
        answers: list[Any] = [question() if self.rank == 0 else None]
        _torch_distributed().broadcast_object_list(answers, src=0)
        answer: T = answers[0]
        return answer

    def agree(self, question: Callable[[], bool], now: bool) -> bool:
        """What process 0 answers, if `now`, else False."""
        return now and self.broadcast(question)

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Process 0 goes through the block alone, then the others."""
        if self.rank > 0:
            _torch_distributed().barrier()
        yield
        if self.rank == 0:
            _torch_distributed().barrier()

    def destroy(self) -> None:
        """Part from the other processes; what is asked of the world after this has no answer."""
        self._wrapped = None
        _torch_distributed().destroy_process_group()


ALONE = DistributedContext()


def find_context(num_processes: int) -> DistributedContext:
    """The world of a process that is one of so many."""
    return ALONE if num_processes == 1 else ProcessGroup()


def _torch_distributed() -> Any:
    from torch import distributed

    return distributed
