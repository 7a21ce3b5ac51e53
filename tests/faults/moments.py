"""Moments at which a command is hurt: between two writes of its own, or after some time."""

from __future__ import annotations

import functools
import importlib
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = (
    "pipeline.atomic_io:synchronise",
    "pipeline.tracking.database.store_file:_link",
    "pipeline.tracking.mlflow_runs:MlflowTracker.start",
    "pipeline.tracking.mlflow_runs:MlflowTracker.reopen",
    "pipeline.tracking.mlflow_logger:MlflowLogger.log_params",
    "pipeline.tracking.mlflow_logger:MlflowLogger.log_metrics",
    "pipeline.tracking.mlflow_logger:MlflowLogger.set_tags",
    "pipeline.tracking.mlflow_logger:MlflowLogger.log_text",
    "pipeline.tracking.mlflow_logger:MlflowLogger.log_figure",
    "pipeline.tracking.mlflow_logger:MlflowLogger.log_file",
    "pipeline.tracking.mlflow_logger:MlflowLogger.log_model",
    "pipeline.tracking.mlflow_logger:MlflowLogger.log_dataset",
    "pipeline.tracking.mlflow_logger:MlflowLogger.finish",
    "pipeline.tracking.mlflow_logger:save_servable",
    "pipeline.training.checkpoints:seal",
    "pipeline.training.checkpoints:synchronise_below",
    "pipeline.training.checkpoints:CheckpointFolder._write",
    "pipeline.training.checkpoints:CheckpointFolder.save",
    "pipeline.training.checkpoints:CheckpointFolder.delete",
    "pipeline.training.saved_model:seal",
    "pipeline.training.activation_cache:seal",
    "pipeline.data.prepared:seal",
    "pipeline.data.tokenization:seal",
    "pipeline.stages.resume_training:replace_text",
    "pipeline.stages.study.resume:replace_text",
    "pipeline.tuning.search:Search.ask",
    "pipeline.tuning.search:Search.note",
    "pipeline.tuning.search:Search.complete",
)
"""What writes, as module:name, where its caller finds it. Before and after each is a moment to be stopped at."""


@dataclass(frozen=True)
class Moment:
    """Before or after the n-th call of what writes, counted over all processes of a command; or after a share of its time."""

    function: str = ""
    call: int = 1
    is_after: bool = False
    share: float = 0.0
    """Of the time that the command takes when nothing hurts it; counts where there is no function."""

    def __str__(self) -> str:
        if not self.function and not self.share:
            return "before it begins"
        if not self.function:
            return f"after {self.share:.0%} of the time"
        return f"{'after' if self.is_after else 'before'} call {self.call} of {self.function.partition(':')[2]}"


BEGINNING = Moment()


def watch(functions: Sequence[str], told: Callable[[str, int, bool], None], counts: Path) -> None:
    """Have `told(function, call, is_after)` called around each function, here and in the processes that are forked from here.

    Args:
        counts: A folder in which calls are counted over all processes.
    """
    counts.mkdir(exist_ok=True)
    for name in functions:
        owner, attribute = _place(name)
        setattr(owner, attribute, _told(getattr(owner, attribute), name, told, counts))


def count_calls(counts: Path) -> dict[str, int]:
    """How often each function was called, as `watch` counted."""
    return {path.name: path.stat().st_size for path in counts.iterdir()}


def choose_moments(calls: dict[str, int], number: int, generator: random.Random, in_time: bool) -> list[Moment]:
    """So many moments, around the first, middle or last call of what writes; if asked for, about a quarter random in time."""
    around = [
        Moment(function, call, is_after)
        for function, count in sorted(calls.items())
        for call in sorted({1, 1 + count // 2, count})
        for is_after in (False, True)
    ]
    late = [generator.random() < 0.25 for _ in range(number if in_time else 0)]
    shares = [Moment(share=generator.uniform(0.02, 0.9)) for _ in range(sum(late))]
    return [*generator.sample(around, min(len(around), number - len(shares))), *shares]


def patch(name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put something else in a function's place, given as module:name."""
    owner, attribute = _place(name)
    setattr(owner, attribute, wrapper(getattr(owner, attribute)))


def _place(name: str) -> tuple[Any, str]:
    module, _, path = name.partition(":")
    *parents, attribute = path.split(".")
    return functools.reduce(getattr, parents, importlib.import_module(module)), attribute


def _told(function: Callable[..., Any], name: str, told: Callable[[str, int, bool], None], counts: Path) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        descriptor = os.open(counts / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, b".")
        call = os.fstat(descriptor).st_size
        os.close(descriptor)
        told(name, call, False)
        result = function(*arguments, **keywords)
        told(name, call, True)
        return result

    return wrapper
