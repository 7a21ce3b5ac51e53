"""Distributed training on one machine: start the processes as torchrun does, and end all when one fails.

Process 0 does all that a single process does; the others only share the training. Each has its own GPU if there are GPUs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pipeline import interruption
from pipeline.errors import PipelineError, ProcessLostError
from pipeline.failures import foreseen, unforeseen
from pipeline.stages.processes.workers import end_with_parent, fork_context

T = TypeVar("T")

# Of several failures the first to be seen is reported. One that is not ours may be no more than the loss of a process that
# died, so it waits until that death was seen: the agent looks ten times a second.
_SECONDS_BEFORE_FOREIGN_FAILURE = 1.5
_SIGNALS = ("SIGQUIT",)  # torch's agent handles these; the others are heeded as always
_SECONDS_BETWEEN_LOOKS = 0.2


def doubt_processes(count: int) -> list[str]:
    """What is to be said of so many processes: they can train, and will be slow."""
    if count == 1:
        return []
    import torch

    cores = os.cpu_count() or 1
    if torch.cuda.is_available() or count <= cores:
        return []
    return [f"Note: --num-processes {count} on {cores} CPU cores: the processes take turns, so fewer are faster."]


def run_processes(count: int, function: Callable[..., T], *arguments: Any) -> T:
    """What `function(rank, *arguments)` returns in process 0 of `count` that call it at the same time.

    Within `function` torch.distributed can be initialised from the environment, as under torchrun. Where signals are listened
    to (`interruption.listen`), the first one only tells process 0, which ends as soon as nothing in `function` holds it back.

    Raises:
        PipelineError: A process failed with it, or died; all are gone.
        KeyboardInterrupt: We were interrupted; all are gone.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    pipes = [fork_context().Pipe(duplex=False) for _ in range(count)]
    senders = [sender for _, sender in pipes]
    listener, teller = fork_context().Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="processes-") as scratch, _quiet_agent() as signals, interruption.held():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            start_method="forkserver",
            logs_specs=DefaultLogsSpecs(log_dir=scratch, redirects=dict.fromkeys(range(1, count), Std.ALL)),
            signals_to_handle=",".join(signals),
        )
        try:
            with _passing_on(teller):
                launch = elastic_launch(config, _work)
                results: dict[int, T] = launch(senders, listener, _threads(count), function, *arguments)
        except SignalException as error:
            raise interruption.Interrupted(error.sigval) from error
        except ChildFailedError as error:
            interruption.admit()  # which is why they ended
            rank, failure = error.get_first_failure()
            receiver = pipes[rank][0]
            raise (receiver.recv() if receiver.poll() else _death(rank, count, failure.exitcode)) from None
        finally:
            for end in (listener, teller, *(end for pipe in pipes for end in pipe)):
                end.close()
    return results[0]


@contextlib.contextmanager
def _passing_on(teller: Connection) -> Iterator[None]:
    """Tell process 0 when a signal asks us to end, and is held back."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            if interruption.is_asked():
                teller.send(True)
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _end_when_told(listener: Connection) -> None:
    with contextlib.suppress(EOFError):
        listener.recv()
        os.kill(os.getpid(), signal.SIGUSR1)


def _work(
    senders: Sequence[Connection],
    listener: Connection,
    threads: int | None,
    function: Callable[..., Any],
    *arguments: Any,
) -> Any:
    """Call the function in one of the processes; an error goes to the parent before the process ends with it."""
    import torch

    for number in (signal.SIGINT, signal.SIGHUP):  # they reach the parent, which tells or terminates us
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once: what is open belongs to the parent
    interruption.listen(signal.SIGUSR1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    rank = int(os.environ["RANK"])
    if rank == 0:
        threading.Thread(target=_end_when_told, args=[listener], daemon=True).start()
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    elif threads is not None:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # accelerate would set another number
    try:
        return function(rank, *arguments)
    except interruption.Interrupted:
        pass  # the parent knows why
    except PipelineError as error:
        senders[rank].send(foreseen(error) or error)
    except Exception as error:
        time.sleep(_SECONDS_BEFORE_FOREIGN_FAILURE)
        if not foreseen(error):
            traceback.print_exc()
        senders[rank].send(unforeseen(error))
    raise SystemExit(1)


def _threads(count: int) -> int | None:
    """Threads of each process on a CPU; None where the user has said how many."""
    import torch

    return None if os.environ.get("OMP_NUM_THREADS") else max(1, torch.get_num_threads() // count)


def _death(rank: int, count: int, status: int) -> PipelineError:
    """Of a process that was killed one that says so: in a study or a search the training is begun again."""
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    kind = ProcessLostError if status < 0 else PipelineError
    return kind(
        f"Process {rank} of the {count} of this training {how}, from outside or because the system ran out of memory; the "
        "others were ended. Run the same command to resume from the last checkpoint; a smaller --batch-size, or "
        "--gradient-accumulation-steps, needs less."
    )


@contextlib.contextmanager
def _quiet_agent() -> Iterator[list[str]]:
    """Keep torch's agent from printing what we say ourselves; the signals that it may take, which are given back afterwards."""
    loggers = {logging.getLogger(name) for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn")}
    before = {logger: (logger.propagate, logger.handlers) for logger in loggers}
    handlers = {name: signal.getsignal(getattr(signal, name)) for name in _SIGNALS if hasattr(signal, name)}
    for logger in loggers:
        logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        yield [name for name, handler in handlers.items() if handler is not signal.SIG_IGN]  # nohup has SIGHUP ignored
    finally:
        for logger in loggers:
            logger.propagate, logger.handlers = before[logger]
        if threading.current_thread() is threading.main_thread():
            for name, handler in handlers.items():
                signal.signal(getattr(signal, name), handler)
