"""Stages in processes of their own: peak memory is then per run, and a crash costs one run only.

The processes are forked from one that has imported everything heavy already, so start-up is paid once.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from pipeline.errors import PipelineError

T = TypeVar("T")

# Imported once, before the first fork. None of them starts a thread or touches a device.
_PRELOADED = [
    "torch",
    "accelerate",
    "peft",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "pipeline.stages.train",
    "pipeline.stages.evaluate",
    "pipeline.tracking.mlflow_runs",
]


class Children:
    """Runs functions one after another, each in a fresh process."""

    def __init__(self) -> None:
        """Prepare to fork; the first call pays for the imports."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._context = context

    def call(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """The function's result; its errors are raised here.

        Raises:
            PipelineError: The process died without a word, for example for lack of memory.
        """
        with ProcessPoolExecutor(max_workers=1, mp_context=self._context) as pool:
            try:
                return pool.submit(function, *arguments, **keywords).result()
            except BrokenProcessPool as error:
                raise PipelineError(
                    "The process of this run was killed from outside; the system may have run out of memory. "
                    "The same command goes on from the last checkpoint; a smaller --batch-size needs less."
                ) from error
