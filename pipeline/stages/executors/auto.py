"""Choose an executor: `batched` where a search's trials train nothing but a head, else `local`."""

from __future__ import annotations

from pipeline.stages.executor import Executor, Work
from pipeline.stages.executors import batched, local
from pipeline.stages.processes.workers import WorkerProcesses

check = local.check
"""Trainings of several processes do not train at once, so they go to `local`."""
describe = local.describe


def create(work: Work, processes: WorkerProcesses) -> Executor:
    """Whichever executor of this machine is quicker."""
    if work.together is None or work.together.why_not(processes):
        return local.create(work, processes)
    return batched.build(work, work.together, processes)
