"""All trials at once where they train nothing but a head, else each in a process of its own."""

from pipeline.stages.children import Children
from pipeline.stages.executors import batched, local
from pipeline.stages.executors.base import Executor
from pipeline.stages.search_plan import SearchPlan

check = local.check
"""Trials of several processes do not train at once, so they go to `local`."""


def create(plan: SearchPlan, precision: str, children: Children) -> Executor:
    """Whichever executor of this machine is quicker."""
    if batched.why_not(plan, precision, children):
        return local.create(plan, precision, children)
    return batched.build(plan, children)
