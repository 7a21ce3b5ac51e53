"""Milliseconds a step, and the GPU's memory: ours, and the Trainer as it is usually set up."""

from __future__ import annotations

import contextlib
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_inputs import Cell, Workshop, draw_lengths, forget, memory, synchronize
from pipeline.config import TrainConfig
from pipeline.training import loop
from pipeline.training.acceleration.patches.cuda_graphs import StepGraphs
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.loop import fit
from pipeline.training.plan import FitPlan
from pipeline.training.precision import choose_precision
from pipeline.training.setup import build, plan_fit, read_texts

SYSTEMS = ("ours", "B", "A")
"""A: padded to 128, float32. B: padded to the longest of a batch, bf16 autocast. Both are transformers' Trainer.

Beside them `eager`: ours without CUDA graphs.
"""


LONGEST_WARM_UP = 25.0
"""Seconds; what has not met every length by then is timed all the same, and marked as not steady."""


class NoCheckpoints(CheckpointFolder):
    """Writes nothing: disks are not measured here."""

    def save(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def load_weights(self, *_: Any, **__: Any) -> None:
        """Nothing."""


@dataclass
class Clock:
    """Times the steps after the first ones, up to `seconds`; the GPU is waited for at the beginning and at the end alone."""

    seconds: float
    warm_up: int = 10
    each_step: Callable[[int], None] | None = None
    """Called after every step, with its number."""
    losses: list[float] = field(default_factory=list)
    steps: int = 0
    elapsed: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    warm_up_seconds: float = 0.0
    warmed: int = 0
    """Steps that were not timed."""
    steady: bool = True
    """Whether the clock started after the whole warm-up."""
    _born: float = field(default_factory=time.perf_counter)
    _begin: float = 0.0
    _ended: bool = False

    def on_step(self, step: int, total_steps: int) -> None:
        """Note the time."""
        if self.each_step:
            self.each_step(step)
        if step == 1:
            self._born = time.perf_counter()
        warm = step >= min(self.warm_up, total_steps - 1)
        if not self._begin and (warm or time.perf_counter() - self._born > LONGEST_WARM_UP):
            synchronize()
            self._begin, self.steps, self.warmed, self.steady = time.perf_counter(), -step, step, warm
            self.warm_up_seconds = self._begin - self._born
        elif self._begin and not self._ended and (step == total_steps or time.perf_counter() - self._begin > self.seconds):
            synchronize()
            self.elapsed = time.perf_counter() - self._begin
            self.steps, self._ended, self.peaks = self.steps + step, True, memory()

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep the losses."""
        if "train/loss" in metrics:
            self.losses.append(metrics["train/loss"])

    def check(self) -> None:
        """Nothing to hold."""

    def on_cache_progress(self, examples: int, total: int) -> None:
        """Not timed: what is computed once is no part of a step."""

    def should_stop(self) -> bool:
        """When the time is over."""
        return self._ended

    def found(self, batch_size: int) -> dict[str, float]:
        """The figures."""
        per_step = self.elapsed / self.steps
        return {
            "ms": 1000 * per_step,
            "examples_per_second": batch_size / per_step,
            "steps": self.steps,
            "warm_up_steps": self.warmed,
            "steady": self.steady,
            "first_visits_seconds": self.warm_up_seconds - per_step * (self.warmed - 1),
            **self.peaks,
        }


def plan_of(workshop: Workshop, config: TrainConfig) -> FitPlan:
    """What `train` would fit, but for checkpoints."""
    inputs = workshop.inputs(config)
    texts = read_texts(inputs)
    checkpoints = NoCheckpoints(workshop.folder / "checkpoints")
    return plan_fit(inputs, texts, build(inputs, texts), choose_precision(config.precision), checkpoints)


@contextlib.contextmanager
def watched_graphs() -> Iterator[Callable[[], dict[str, Any]]]:
    """Within the block the graphs of the last training are seen: how many were captured, and whether that failed."""
    made: list[StepGraphs] = []

    class Seen(StepGraphs):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    before = loop.StepGraphs
    loop.StepGraphs = Seen  # type: ignore[misc]
    try:
        yield lambda: {"captured": made[-1].captured, "failed": made[-1].failed} if made else {}
    finally:
        loop.StepGraphs = before  # type: ignore[misc]


def measure_ours(
    workshop: Workshop, cell: Cell, seconds: float, prepare: Callable[[FitPlan], None] | None = None, **options: Any
) -> dict[str, Any]:
    """One training by the product's own loop, timed once it has met every length and captured what it captures.

    Args:
        prepare: What is done to the model first.
    """
    held = forget()
    began = time.perf_counter()
    config = workshop.config(cell, workshop.rows, **{"epochs": 8, "eval_steps": 10**6} | options)
    clock = Clock(seconds, workshop.warm_up_of_ours(cell, options.get("cuda_graphs") != "off"))
    plan = plan_of(workshop, config)
    if prepare:
        prepare(plan)
    prepared = time.perf_counter()
    with watched_graphs() as seen:
        result = fit(plan, clock)
    found = clock.found(config.batch_size)
    return {
        **found,
        "held_before_mb": held,
        "precision": plan.precision,
        "graphs": seen(),
        "flops_per_example": result.flops / result.examples,
        "flops_per_second": result.flops / result.examples * found["examples_per_second"],
        "padded_tokens_per_example": result.tokens / result.examples,
        "cache_seconds": result.cache_seconds,
        "peaks_with_evaluation": memory(),
        "loss": result.train_loss_mean,
        "seconds": {"prepare": prepared - began, "all": time.perf_counter() - began},
    }


def losses_of(workshop: Workshop, cell: Cell, steps: int, precision: str) -> list[float]:
    """The loss of each of the first steps without dropout, in one precision, on the device that there is."""
    forget()
    config = workshop.config(cell, steps, precision=precision, dropout=0.0, logging_steps=1)
    clock = Clock(3600.0)
    fit(plan_of(workshop, config), clock)
    return clock.losses


class VisitingCollator:
    """Pads to the longest of a batch, as is usual; but the first batches to one length each, cutting what is longer.

    Later batches keep to these lengths: the few longer ones are cut, the few shorter ones padded. So every length that is
    timed was met before, and what is paid once for a shape is not in the time of a step.
    """

    def __init__(self, tokenizer: Any, lengths: list[int]) -> None:
        """Meet these lengths first, in any order; without any, pad as is usual."""
        from transformers import DataCollatorWithPadding

        self._usual, self._tokenizer = DataCollatorWithPadding(tokenizer), tokenizer
        self._lengths, self.to_visit = lengths, list(lengths)

    def __call__(self, examples: list[dict[str, Any]]) -> Any:
        """The batch."""
        length = max(len(example["input_ids"]) for example in examples)
        if self.to_visit:
            length = self.to_visit.pop()
        elif self._lengths:
            length = min(max(length, min(self._lengths)), max(self._lengths))
        cut = [{name: v[:length] if isinstance(v, list) else v for name, v in example.items()} for example in examples]
        batch = self._usual(cut)
        for name, tensor in batch.items():
            if name != "labels":
                value = self._tokenizer.pad_token_id if name == "input_ids" else 0
                batch[name] = torch_pad(tensor, length - tensor.shape[1], value)
        return batch


def torch_pad(tensor: Any, columns: int, value: int) -> Any:
    """So many columns more."""
    from torch.nn.functional import pad

    return pad(tensor, (0, columns), value=value)


def usual_lengths(batch_size: int) -> list[int]:
    """The lengths to which random batches of SST-2's texts are padded, but for the rarest."""
    longest = draw_lengths(batch_size * 400, 5).reshape(400, batch_size).max(1)
    return list(range(int(np.quantile(longest, 0.02)), int(np.quantile(longest, 0.98)) + 1))


_ROWS: dict[tuple[str, str, int], Any] = {}


def measure_trainer(
    workshop: Workshop,
    cell: Cell,
    system: str,
    steps: int,
    seconds: float,
    each_step: Callable[[int], None] | None = None,
    warm_up: int | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """One training by transformers' Trainer, timed once it has met the usual lengths.

    Args:
        warm_up: Steps before the clock starts, without a visit to each length first; so that it can be looked at early.
        arguments: Of `TrainingArguments`, beside the usual ones.
    """
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from benchmarks import peers
    from pipeline.modeling.loading import load_tokenizer

    held = forget()
    began = time.perf_counter()
    config = workshop.config(cell, steps)
    inputs = workshop.inputs(config)
    tokenizer = load_tokenizer(inputs.address)
    padding = "max_length" if system == "A" else "longest"
    key = (cell.shape, padding, config.max_train_samples or 0)
    if key not in _ROWS:
        table = inputs.prepared.read("train").iloc[inputs.sample("train")]
        _ROWS[key] = peers.Rows(tokenizer, table["text"].tolist(), table["label"].tolist(), padding, 128)
    torch.manual_seed(config.seed)
    dropouts = dict.fromkeys(inputs.address.encoder.family.dropouts, config.dropout)
    model = AutoModelForSequenceClassification.from_pretrained(
        inputs.address.folder, num_labels=2, dtype=torch.float32, **dropouts
    )
    model = peers.choose_parameters(model, config)
    lengths = [] if warm_up is not None or system == "A" else [12, 20] if workshop.tiny else usual_lengths(cell.batch_size)
    collator = VisitingCollator(tokenizer, lengths) if system == "B" else None
    clock = Clock(seconds, warm_up if warm_up is not None else len(lengths) + workshop.warm_up, each_step)

    class Watching(TrainerCallback):
        """Tells the clock of every step."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.on_step(state.global_step, state.max_steps)
            if clock.should_stop():
                control.should_training_stop = True

    with tempfile.TemporaryDirectory() as scratch:
        usual: dict[str, Any] = {
            "output_dir": scratch,
            "learning_rate": config.learning_rate,
            "per_device_train_batch_size": config.batch_size,
            "num_train_epochs": 1,
            "weight_decay": config.weight_decay,
            "warmup_steps": config.warmup_ratio,
            "lr_scheduler_type": "linear",
            "seed": config.seed,
            "logging_steps": config.logging_steps,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "bf16": system == "B" and workshop.has_cuda,
            "dataloader_pin_memory": workshop.has_cuda,
        }
        trainer = Trainer(
            model=model,
            args=TrainingArguments(**usual | arguments),
            train_dataset=_ROWS[key],
            data_collator=collator,
            callbacks=[Watching()],
        )
        trainer.remove_callback(PrinterCallback)
        prepared = time.perf_counter()
        outcome = trainer.train()
    return {
        **clock.found(config.batch_size),
        **({"lengths_visited": len(lengths) - len(collator.to_visit)} if collator else {}),
        "held_before_mb": held,
        "loss": outcome.training_loss,
        "seconds": {"prepare": prepared - began, "all": time.perf_counter() - began},
    }


def measure(workshop: Workshop, cell: Cell, system: str, steps: int, seconds: float) -> dict[str, Any]:
    """One system in one setting."""
    if system in ("ours", "eager"):
        return measure_ours(workshop, cell, seconds, cuda_graphs="auto" if system == "ours" else "off")
    return measure_trainer(workshop, cell, system, steps, seconds)


def train_really(workshop: Workshop, cell: Cell, steps: int, folder: Path) -> dict[str, float]:
    """What a run of `train` records of its costs, written to a tracker in memory."""
    from pipeline.stages import train
    from pipeline.tracking.memory import MemoryTracker

    forget()
    tracker = MemoryTracker()
    result = train.run(workshop.config(cell, steps), tracker, parent_id="benchmark", model_folder=folder)
    metrics = tracker.get(result.run_id).metrics
    wanted = ("cost/", "model/", "val/accuracy", "train/loss_mean")
    return {name: value for name, value in metrics.items() if name.startswith(wanted)}


def search_points() -> list[dict[str, Any]]:
    """The 36 points of the search."""
    from benchmarks.search import SPACE

    return [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]


def measure_search(workshop: Workshop, shape: str, rows: int) -> dict[str, float]:
    """What all points cost ours, in one process."""
    from benchmarks.measure import measure_search as measure

    forget()
    config = workshop.config(Cell(shape, "head_only", 32), 1)
    names = ("model", "train_file", "validation_file", "test_file", "cache_dir", "max_eval_samples")
    settings: dict[str, Any] = {name: getattr(config, name) for name in names}
    return measure(search_points(), {**settings, "max_train_samples": rows})


def measure_search_step(workshop: Workshop, shape: str, system: str, batch_size: int, rows: int) -> dict[str, float]:
    """Seconds that the points of one batch size would take the Trainer, by its steps."""
    steps = sum(
        point["epochs"] * math.ceil(rows / batch_size) for point in search_points() if point["batch_size"] == batch_size
    )
    found = measure_trainer(workshop, Cell(shape, "head_only", batch_size), system, 100, 1.0)
    return {"ms": found["ms"], "steps": steps, "train_seconds": found["ms"] / 1000 * steps}
