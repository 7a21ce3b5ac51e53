"""Trials on a Ray cluster, each with its share of CPUs and GPUs.

All machines need this project with the extra `ray` under the same path, and a file system in common for the current folder
and `--cache-dir`, where prepared data, models and checkpoints are. The tracking store must be one that all reach.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, PipelineError, ProcessLostError, shorten
from pipeline.failures import foreseen, unforeseen
from pipeline.stages.processes.workers import SECONDS_TO_CLOSE, WorkerProcesses
from pipeline.stages.search.executor import Outcome
from pipeline.stages.search.plan import SearchPlan
from pipeline.stages.search.trial import TrialTask, run_trial
from pipeline.tracking import open_tracker

_PROJECT = Path(__file__).parents[3]


def create(plan: SearchPlan, _precision: str, _processes: WorkerProcesses) -> RayExecutor:
    """An executor with `--workers` slots on the cluster of `--ray-address`, or else of RAY_ADDRESS.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    address = plan.config.ray_address or os.environ.get("RAY_ADDRESS")
    if not address:
        raise ConfigError("--executor ray: which cluster? Give --ray-address, such as 10.0.0.1:6379, or set RAY_ADDRESS.")
    try:
        import ray
    except ImportError as error:
        raise ConfigError('--executor ray: ray is not installed. Install it: pip install ".[ray]"') from error
    try:
        ray.init(address, logging_level=logging.ERROR, runtime_env={"env_vars": _environment()})
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = shorten(" ".join(str(error).split()), 200)
        raise ConfigError(f"--ray-address {address}: no Ray cluster answers ({reason}). Start one with `ray start`.") from error
    return RayExecutor(plan.config.workers)


def _environment() -> dict[str, str]:
    """What workers need to find the code and the tracking store."""
    named = {name: value for name, value in os.environ.items() if name.startswith(("MLFLOW_", "HF_"))}
    named.pop("MLFLOW_RUN_ID", None)  # that of the search
    path = os.pathsep.join(dict.fromkeys([str(_PROJECT), *filter(None, sys.path)]))
    return {**named, "MLFLOW_TRACKING_URI": _tracking_uri(), "PYTHONPATH": path}


def _tracking_uri() -> str:
    """That of the tracking store, a file's path made whole."""
    uri = str(getattr(open_tracker(), "tracking_uri", ""))
    head, scheme, path = uri.partition("sqlite:///")
    return f"sqlite:///{Path(path).absolute()}" if scheme and not head else uri


class RayExecutor:
    """A task of Ray, in a process of its own, for every trial."""

    name = "ray"

    def __init__(self, slots: int) -> None:
        """Begin with nothing to do; `ray.init` was called."""
        import ray

        self.slots = slots
        self._running: dict[Any, TrialTask] = {}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # A trial is on one machine: a share that no machine has would wait for ever.
        share_of = {name: [node.get(name, 0) for node in nodes] for name in ("CPU", "GPU")}
        cpus, gpus = (min(sum(amounts) / slots, max(amounts, default=0)) for amounts in share_of.values())
        cpus = max(1, int(cpus))
        share = min(1.0, gpus) if gpus < 2 else int(gpus)  # Ray gives parts of one GPU, or whole ones
        # No retries: the search itself hands a lost trial out again. A fresh process each, so that peak memory is per run.
        options = {"num_cpus": cpus, "num_gpus": share, "max_retries": 0, "max_calls": 1}
        self._remote = ray.remote(**options)(run_with_cpus)
        self._cpus = cpus

    def submit(self, task: TrialTask) -> None:
        """Queue the trial; Ray places it where its share is free."""
        self._running[self._remote.remote(self._cpus, str(Path.cwd()), task)] = task

    def wait(self) -> Outcome:
        """The outcome of whichever trial ends next."""
        import ray

        [ready], _ = ray.wait(list(self._running), num_returns=1)
        number = self._running.pop(ready).number
        try:
            result: str | PipelineError = ray.get(ready)
        except ray.exceptions.RayTaskError as error:  # before the trial began, such as a task that cannot be unpacked
            result = unforeseen(error.cause)
        except ray.exceptions.RayError as error:  # worker, node or connection
            result = ProcessLostError(f"Ray lost the process of this trial ({type(error).__name__}).")
        return Outcome(number, error=result) if isinstance(result, PipelineError) else Outcome(number, run_id=result)

    def stop(self) -> None:
        """Interrupt the trials, each of which closes its run, and leave the cluster."""
        import ray

        left = list(self._running)
        self._running.clear()
        for reference in left:
            ray.cancel(reference)
        if left:
            _, late = ray.wait(left, num_returns=len(left), timeout=SECONDS_TO_CLOSE)
            for reference in late:
                ray.cancel(reference, force=True)
        ray.shutdown()


def run_with_cpus(cpus: int, folder: str, task: TrialTask) -> str | PipelineError:
    """Train the trial in the folder in which the search runs; an error is handed back as one of ours."""
    import torch

    os.chdir(folder)
    torch.set_num_threads(cpus)
    try:
        return run_trial(task)
    except PipelineError as error:
        return foreseen(error) or error
    except Exception as error:  # whatever it is, it must not end the other trials
        if not foreseen(error):
            traceback.print_exc()
        return unforeseen(error)
