"""Choose an executor: `batched` where trials train nothing but a head, else `local`."""

from __future__ import annotations

from pipeline.stages.processes.workers import WorkerProcesses
from pipeline.stages.search.executor import Executor
from pipeline.stages.search.executors import batched, local
from pipeline.stages.search.plan import SearchPlan

check = local.check
"""Trials of several processes do not train at once, so they go to `local`."""


def create(plan: SearchPlan, precision: str, processes: WorkerProcesses) -> Executor:
    """Whichever executor of this machine is quicker."""
    if batched.why_not(plan, precision, processes):
        return local.create(plan, precision, processes)
    return batched.build(plan, processes)
