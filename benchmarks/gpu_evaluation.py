"""Seconds to predict: ours, in batches as in a training and as in a test, and the Trainer's `predict`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks import peers
from benchmarks.gpu_inputs import Cell, Workshop, forget, memory, seconds_of, synchronize
from benchmarks.gpu_steps import plan_of
from pipeline.data.batching import TokenExamples
from pipeline.training.acceleration.base import accelerated
from pipeline.training.inference import predict_logits
from pipeline.training.loop import make_accelerator

SYSTEMS = ("ours", "ours in a test", "B", "A")
"""As in `gpu_steps`; a test's batches are as large as they get, a training's no larger than its own."""
BATCH_SIZE = 32
"""Of the Trainer's predictions; its default is 8."""


def measure_evaluation(workshop: Workshop, shape: str, system: str) -> dict[str, float]:
    """Seconds to predict some thousand texts whose tokens are there: the first time, and in the mean of later times."""
    held = forget()
    cell = Cell(shape, "full", 32)
    texts = 256 if workshop.tiny else 4096
    steps = texts // workshop.config(cell, 1).batch_size
    predict = _trainer(workshop, cell, steps, system) if system in ("A", "B") else _ours(workshop, cell, steps, system)
    synchronize()
    began = time.perf_counter()
    predict()
    synchronize()
    first = time.perf_counter() - began
    seconds = seconds_of(predict, 5, warm_up=0, at_most=0.5 if workshop.tiny else 2.5)
    return {
        "seconds": seconds,
        "first_seconds": first,
        "texts_per_second": texts / seconds,
        "held_before_mb": held,
        **memory(),
    }


def _ours(workshop: Workshop, cell: Cell, steps: int, system: str) -> Callable[[], object]:
    plan = plan_of(workshop, workshop.config(cell, steps))
    accelerator = make_accelerator(plan.precision)
    model = accelerator.prepare_model(plan.model, evaluation_mode=True)
    examples = TokenExamples(plan.train, plan.pad_id)  # type: ignore[arg-type]
    largest = plan.largest_batch(plan.begin().pieces) if system == "ours" else None

    def predict() -> object:
        with accelerated(plan, accelerator.device):
            return predict_logits(model, examples, accelerator.device, largest)

    return predict


def _trainer(workshop: Workshop, cell: Cell, steps: int, system: str) -> Callable[[], object]:
    import torch
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer, TrainingArguments

    from pipeline.modeling.loading import load_tokenizer

    inputs = workshop.inputs(workshop.config(cell, steps))
    tokenizer = load_tokenizer(inputs.address)
    table = inputs.prepared.read("train").iloc[inputs.sample("train")]
    padding = "max_length" if system == "A" else "longest"
    rows = peers.Rows(tokenizer, table["text"].tolist(), table["label"].tolist(), padding, 128)  # type: ignore[arg-type]
    model: Any = AutoModelForSequenceClassification.from_pretrained(inputs.address.folder, num_labels=2, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                per_device_eval_batch_size=BATCH_SIZE,
                report_to=[],
                disable_tqdm=True,
                bf16=system == "B" and workshop.has_cuda,
                dataloader_pin_memory=workshop.has_cuda,
            ),
            data_collator=DataCollatorWithPadding(tokenizer) if system == "B" else None,
        )
    return lambda: trainer.predict(rows)
