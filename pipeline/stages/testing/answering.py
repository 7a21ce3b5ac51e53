"""What it costs to use a model: how long it takes to answer, in how much memory, from how large files, also merged."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.data.columns import Input
from pipeline.errors import shorten
from pipeline.failures import is_exhausted
from pipeline.modeling.model_sources import ModelAddress
from pipeline.stages.progress import say
from pipeline.stages.testing.timing import TEXTS, Latency, Throughput, spread_by_length, time_batches, time_single
from pipeline.strategies.adapters import merge_into_base
from pipeline.tracking.provenance import hardware
from pipeline.tracking.runs import Run, RunLogger
from pipeline.tracking.tags import Tag
from pipeline.training.acceleration.base import AUTO
from pipeline.training.inference import TrainedModel
from pipeline.training.meters import MIB, MemoryMeter
from pipeline.training.saved_model import FineTunedModel

_MEASURED = "cost/latency_ms_median"
_ROUNDING = 1e-3  # of the largest output: merged weights are rounded once more


def is_measured(run: Run) -> bool:
    """Whether a run says what its model's answers cost."""
    return _MEASURED in run.metrics


def begin_memory(encoder: bool = True) -> MemoryMeter:
    """A meter of what a model that is loaded from now on takes: neither libraries nor what a training before has freed.

    Args:
        encoder: Whether the model has one, so that its libraries are needed.
    """
    for name in ("torch", "transformers", "peft") if encoder else ():
        importlib.import_module(name)
    with contextlib.suppress(OSError, AttributeError):  # glibc alone keeps, and gives back, so much
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return MemoryMeter()


@dataclasses.dataclass(frozen=True)
class Answering:
    """What is measured, and how."""

    model: TrainedModel
    inputs: Sequence[Input]
    """Of the test part."""
    files: Sequence[Path]
    """All that a machine must hold to answer."""
    seconds: float
    """About how long answers to single texts are timed, and as long again batches."""
    memory: MemoryMeter
    """Begun before the model was loaded."""
    at_once: int = 1
    """How many trainings and tests run at once, this one among them."""

    def measure(self, logger: RunLogger, title: str) -> None:
        """Time the model as it is, and merged where it has adapters that can be; all goes to the run of `logger`."""
        single = time_single(self.model.predict, self.inputs, self.seconds)
        batched = time_batches(self.model.predict, self.inputs, self.seconds)
        peaks = {name.replace("/peak_", "/predict_peak_"): value for name, value in self.memory.peaks().items()}
        disk = {"cost/predict_disk_mb": _size(self.files) / MIB}
        merged = self._measure_merged(title)
        logger.set_tags({Tag.PREDICT_SETTING: self._setting()})
        logger.log_metrics({**_metrics("", single, batched), "cost/latency_calls": single.calls, **peaks, **disk, **merged})
        also = f"; merged {merged['cost/merged_latency_ms_median']:.2f} ms" if merged else ""
        say(
            f"{title}: answers one text in {single.median:.2f} ms (median of {single.calls}; 99 % within {single.p99:.2f} ms)"
            f"{also}; {batched.texts_per_second:,.0f} texts a second in batches of {batched.batch_size}"
        )

    def _setting(self) -> str:
        """What these figures depend on beside the model."""
        at_once = f"{self.at_once} at once" if self.at_once > 1 else ""
        if where := getattr(self.model, "runs_on", ""):  # a graph, which no acceleration of ours is for
            return ", ".join(filter(None, (where, at_once)))
        chosen = self.model.acceleration if isinstance(self.model, FineTunedModel) else (AUTO,)
        changed = "" if chosen == (AUTO,) else f"acceleration {', '.join(chosen)}"
        return ", ".join(filter(None, (hardware(), at_once, changed)))

    def _measure_merged(self, title: str) -> Mapping[str, float]:
        merged = merge_adapters(self.model, title)
        if merged is None:
            return {}
        difference, largest = _compare(self.model, merged, spread_by_length(self.inputs, TEXTS))
        if difference > _ROUNDING * max(1.0, largest):
            say(f"{title}: with its adapters merged it answers otherwise (by {difference:.2g}), so that is not measured.")
            return {}
        single = time_single(merged.predict, self.inputs, self.seconds)
        batched = time_batches(merged.predict, self.inputs, self.seconds)
        settings = sum(file.stat().st_size for file in self.files if file.suffix in (".json", ".txt", ".model"))
        return {
            **_metrics("merged_", single, batched),
            "cost/merged_disk_mb": (_weigh(merged) + settings) / MIB,
            "cost/merged_largest_difference": difference,
        }


def _metrics(prefix: str, single: Latency, batched: Throughput) -> dict[str, float]:
    return {
        f"cost/{prefix}latency_ms_median": single.median,
        f"cost/{prefix}latency_ms_low": single.low,
        f"cost/{prefix}latency_ms_high": single.high,
        f"cost/{prefix}latency_ms_p99": single.p99,
        f"cost/{prefix}predict_examples_per_second": batched.texts_per_second,
        f"cost/{prefix}predict_batch_size": batched.batch_size,
    }


def list_files(folder: Path, base: ModelAddress | None) -> list[Path]:
    """All that is read to load a model: what training wrote, and the base below it if there is one."""
    return [*(file for file in folder.iterdir() if file.is_file()), *(base.files() if base else ())]


def merge_adapters(model: TrainedModel, title: str) -> FineTunedModel | None:
    """A copy of a model with its adapters merged into its weights; None where it has none, or none that can be merged.

    Args:
        title: Of the run, for the line that says why they cannot be.
    """
    if not isinstance(model, FineTunedModel) or not hasattr(model.model, "merge_and_unload"):
        return None
    try:
        return dataclasses.replace(model, model=merge_into_base(copy.deepcopy(model.model)))
    except Exception as error:  # peft raises its own where a method, or a layer, cannot
        if is_exhausted(error):
            raise
        say(f"{title}: its adapters cannot be merged, so that is not measured ({shorten(str(error), 200)}).")
        return None


def _compare(model: TrainedModel, merged: TrainedModel, inputs: Sequence[Input]) -> tuple[float, float]:
    """The largest difference between their outputs, and the largest output."""
    import numpy as np

    outputs = model.predict(inputs)
    return float(np.abs(outputs - merged.predict(inputs)).max()), float(np.abs(outputs).max())


def _size(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _weigh(model: FineTunedModel) -> int:
    """Bytes of a model's tensors, those that share memory once: what it takes saved whole."""
    tensors = {tensor.data_ptr(): tensor for tensor in model.model.state_dict().values()}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
