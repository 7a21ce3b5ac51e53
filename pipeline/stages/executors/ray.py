"""Tasks on a Ray cluster, each with its share of CPUs and GPUs.

All machines need this project with the extra `ray` under the same path, and a file system in common for the current folder
and `--cache-dir`, where prepared data, models and checkpoints are. The tracking store must be one that all reach.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline import config as configs
from pipeline.code_version import how_to_install
from pipeline.errors import ConfigError, PipelineError, ProcessLostError, shorten
from pipeline.failures import foreseen, unforeseen
from pipeline.stages.executor import Outcome, Task, Work
from pipeline.stages.processes.workers import SECONDS_TO_CLOSE, WorkerProcesses
from pipeline.stages.progress import label_lines
from pipeline.tracking import open_tracker

_PROJECT = Path(__file__).parents[3]


def check(config: configs.SearchConfig) -> None:
    """Hold that a cluster is named and that Ray is there.

    Raises:
        ConfigError: One of them is missing.
    """
    if not _address(config):
        raise ConfigError("--executor ray: which cluster? Give --ray-address, such as 10.0.0.1:6379, or set RAY_ADDRESS.")
    if find_spec("ray") is None:
        raise ConfigError(f"--executor ray: ray is not installed. Run {how_to_install('ray')}.")


def describe(config: configs.SearchConfig) -> str:
    """The share of the cluster that each of several at once gets."""
    workers = config.workers
    at_once = "one at a time" if workers == 1 else f"{workers} at once, each with a share of its CPUs and GPUs,"
    return f"{at_once} on the Ray cluster at {_address(config)}"


def create(work: Work, _processes: WorkerProcesses) -> RayExecutor:
    """An executor with `--workers` slots on the cluster of `--ray-address`, or else of RAY_ADDRESS.

    Raises:
        ConfigError: There is no cluster at the address.
    """
    import ray

    connects = not ray.is_initialized()  # in a study its searches use the same connection
    if connects:
        _connect(_address(work.config))
    return RayExecutor(work.config.workers, connects)


def _address(config: configs.SearchConfig) -> str:
    return config.ray_address or os.environ.get("RAY_ADDRESS", "")


def _connect(address: str) -> None:
    import ray

    # Ray would have SIGTERM end us without a word to anybody; we close runs, as for Ctrl-C.
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, logging_level=logging.ERROR, runtime_env={"env_vars": _environment()})
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = shorten(" ".join(str(error).split()), 200)
        raise ConfigError(f"--ray-address {address}: no Ray cluster answers ({reason}). Start one with `ray start`.") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _environment() -> dict[str, str]:
    """What workers need to find the code and the tracking store."""
    named = {name: value for name, value in os.environ.items() if name.startswith(("MLFLOW_", "HF_"))}
    named.pop("MLFLOW_RUN_ID", None)  # that of the search or study
    path = os.pathsep.join(dict.fromkeys([str(_PROJECT), *filter(None, sys.path)]))
    return {**named, "MLFLOW_TRACKING_URI": _tracking_uri(), "PYTHONPATH": path}


def _tracking_uri() -> str:
    """That of the tracking store, a file's path made whole."""
    uri = str(getattr(open_tracker(), "tracking_uri", ""))
    head, scheme, path = uri.partition("sqlite:///")
    return f"sqlite:///{Path(path).absolute()}" if scheme and not head else uri


class RayExecutor:
    """A task of Ray, in a process of its own, for every one of ours."""

    name = "ray"

    def __init__(self, slots: int, connects: bool) -> None:
        """Begin with nothing to do; `ray.init` was called.

        Args:
            connects: Whether this executor is the one that leaves the cluster in the end.
        """
        import ray

        self.slots = self.workers = slots
        self._connects = connects
        self._running: dict[Any, Task] = {}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # A task is on one machine: a share that no machine has would wait for ever.
        share_of = {name: [node.get(name, 0) for node in nodes] for name in ("CPU", "GPU")}
        cpus, gpus = (min(sum(amounts) / slots, max(amounts, default=0)) for amounts in share_of.values())
        cpus = max(1, int(cpus))
        share = min(1.0, gpus) if gpus < 2 else int(gpus)  # Ray gives parts of one GPU, or whole ones
        # No retries: lost tasks are handed out again by whoever waits. A fresh process each, so that peak memory is per run.
        options = {"num_cpus": cpus, "num_gpus": share, "max_retries": 0, "max_calls": 1}
        self._remote = ray.remote(**options)(run_with_cpus)
        self._cpus = cpus

    def submit(self, task: Task) -> None:
        """Queue the task; Ray places it where its share is free."""
        self._running[self._remote.remote(self._cpus, str(Path.cwd()), task, self.slots > 1)] = task

    def wait(self) -> Outcome:
        """The outcome of whichever task ends next."""
        import ray

        [ready], _ = ray.wait(list(self._running), num_returns=1)
        number = self._running.pop(ready).number
        try:
            result: str | PipelineError = ray.get(ready)
        except ray.exceptions.RayTaskError as error:  # before it began, such as a task that cannot be unpacked
            result = unforeseen(error.cause)
        except ray.exceptions.RayError as error:  # worker, node or connection
            result = ProcessLostError(f"Ray lost the process of this run ({type(error).__name__}).")
        return Outcome(number, error=result) if isinstance(result, PipelineError) else Outcome(number, run_id=result)

    def stop(self) -> None:
        """Interrupt the tasks, each of which closes its run, and leave the cluster."""
        import ray

        left = list(self._running)
        self._running.clear()
        for reference in left:
            ray.cancel(reference)
        if left:
            _, late = ray.wait(left, num_returns=len(left), timeout=SECONDS_TO_CLOSE)
            for reference in late:
                ray.cancel(reference, force=True)
        if self._connects:
            self._connects = False
            ray.shutdown()


def run_with_cpus(cpus: int, folder: str, task: Task, labelled: bool) -> str | PipelineError:
    """Carry the task out in the folder in which we were started; an error is handed back as one of ours.

    Args:
        labelled: Whether others write lines beside it.
    """
    import torch

    os.chdir(folder)
    torch.set_num_threads(cpus)
    if labelled:
        label_lines(task.label)
    try:
        return task.run()
    except PipelineError as error:
        return foreseen(error) or error
    except Exception as error:  # whatever it is, it must not end the other tasks
        if not foreseen(error):
            traceback.print_exc()
        return unforeseen(error)
