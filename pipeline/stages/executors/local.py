"""Tasks in processes of this machine, each with its share of the cores, or with GPUs of its own."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import wait

from pipeline import config as configs
from pipeline import interruption
from pipeline.errors import ConfigError, PipelineError
from pipeline.stages.executor import Outcome, Task, Work
from pipeline.stages.processes.workers import SECONDS_TO_CLOSE, WorkerProcess, WorkerProcesses
from pipeline.stages.progress import label_lines


def check(config: configs.SearchConfig) -> None:
    """Hold `--workers` times `--num-processes` against the GPUs.

    Tasks of one process may share a GPU; the processes of one training cannot.

    Raises:
        ConfigError: Tasks that run at once would need more GPUs than there are.
    """
    if config.num_processes == 1:
        return
    there, needed = len(gpus()), config.workers * config.num_processes
    if there and needed > there:
        raise ConfigError(
            f"--workers {config.workers} times --num-processes {config.num_processes} needs {needed} GPUs, and there are "
            f"{there}. Give at most --workers {max(1, there // config.num_processes)}, or fewer --num-processes."
        )


def describe(config: configs.SearchConfig) -> str:
    """The share of the machine that each of several at once gets."""
    workers = config.workers
    if workers == 1:
        return "one at a time on this machine"
    devices, threads = len(gpus()), share_of_threads(workers)
    needed = workers * config.num_processes
    share = f"{threads} thread{'s' if threads > 1 else ''} each"
    if devices:
        share += ", a GPU for every process" if needed <= devices else f", {devices} GPU{'s' if devices > 1 else ''} shared"
    return f"{workers} at once on this machine ({share})"


def create(work: Work, processes: WorkerProcesses) -> LocalExecutor:
    """An executor with `--workers` slots."""
    processes.prepare_runs()  # by now, if the command has not begun it with its own imports
    return LocalExecutor(work.config.workers, processes)


class LocalExecutor:
    """A process a task, at most `slots` at once."""

    name = "local"

    def __init__(self, slots: int, processes: WorkerProcesses) -> None:
        """Begin with nothing to do."""
        self.slots = self.workers = slots
        self._processes = processes
        self._running: dict[int, tuple[WorkerProcess[str], int]] = {}
        """Slot -> process, and the number of its task."""

    def submit(self, task: Task) -> None:
        """Begin the task in a free slot."""
        slot = next(slot for slot in range(self.slots) if slot not in self._running)
        with interruption.held():  # a process that nobody knows would not be asked to end, and we would wait for it
            self._running[slot] = self._processes.start(run_with_share, slot, self.slots, task), task.number

    def wait(self) -> Outcome:
        """The outcome of whichever process ends next."""
        ready = wait([process.connection for process, _ in self._running.values()])
        slot = next(slot for slot, (process, _) in self._running.items() if process.connection in ready)
        process, number = self._running.pop(slot)
        try:
            return Outcome(number, run_id=process.result())
        except PipelineError as error:
            return Outcome(number, error=error)

    def stop(self) -> None:
        """Interrupt the processes; each closes its run, all within the time that one may take."""
        running = [process for process, _ in self._running.values()]
        self._running.clear()
        latest = time.monotonic() + SECONDS_TO_CLOSE
        try:
            for process in running:
                process.interrupt()
            for process in running:
                process.join(max(0.0, latest - time.monotonic()))
        except BaseException:  # a second Ctrl-C: as we end, Python would wait for those that are left
            for process in running:
                process.kill()
            raise


def run_with_share(slot: int, slots: int, task: Task) -> str:
    """Carry the task out with this slot's share of the machine: as many cores as any other, and a GPU for each process.

    Called in a process of its own, before it has touched a device.
    """
    import torch

    devices = gpus()
    if devices:
        count = task.num_processes
        dealt = (devices[place % len(devices)] for place in range(slot * count, (slot + 1) * count))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(dealt)
    if slots > 1:
        torch.set_num_threads(share_of_threads(slots))
        label_lines(task.label)
    return task.run()


def share_of_threads(slots: int) -> int:
    """Threads of a task where so many run at once."""
    import torch

    return max(1, torch.get_num_threads() // slots)


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    return [str(index) for index in range(torch.cuda.device_count())]
