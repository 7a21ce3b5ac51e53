"""Fine-tuning as it is usually written: transformers' Trainer, with padding to the maximum or to the longest of a batch."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.measure import peak_mb
from pipeline.config import TrainConfig
from pipeline.training.meters import MemoryMeter
from pipeline.training.setup import find_inputs

Padding = Literal["max_length", "longest"]
WARM_UP_STEPS = 3


@dataclass
class Measurement:
    """What one training cost."""

    seconds_per_step: float
    """Mean over all steps but the first three."""
    steps: int
    added_mb: float
    """Of the GPU where there is one, else highest resident memory less what the process held before the model was loaded."""
    one_off_seconds: float = 0.0
    """Spent once and not per step: computing the frozen layers' states."""
    accuracy: float | None = None
    """On validation data, after the last step."""


class StepClock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Tokenised texts as the usual `dataset.map(tokenize)` leaves them."""

    def __init__(self, tokenizer: Any, texts: list[str], labels: list[int], padding: Padding, max_length: int) -> None:
        pad = "max_length" if padding == "max_length" else False
        self._encoded = tokenizer(texts, truncation=True, max_length=max_length, padding=pad)
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{name: column[index] for name, column in self._encoded.items()}, "label": self._labels[index]}


def measure(config: TrainConfig, padding: Padding, max_steps: int | None, evaluates: bool) -> Measurement:
    """Train as `config` says, the way a script around the Trainer does."""
    inputs = find_inputs(config)
    tokenizer = AutoTokenizer.from_pretrained(inputs.address.folder)
    train, validation = (_rows(inputs, split, tokenizer, padding) for split in ("train", "validation"))
    memory = MemoryMeter()
    torch.manual_seed(config.seed)
    dropouts = dict.fromkeys(inputs.address.encoder.family.dropouts, config.dropout)
    model = AutoModelForSequenceClassification.from_pretrained(
        inputs.address.folder, num_labels=len(inputs.prepared.manifest.classes), dtype=torch.float32, **dropouts
    )
    model = choose_parameters(model, config)
    clock = StepClock()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                learning_rate=config.learning_rate,
                per_device_train_batch_size=config.batch_size,
                per_device_eval_batch_size=config.batch_size,
                num_train_epochs=config.epochs,
                max_steps=max_steps or -1,
                weight_decay=config.weight_decay,
                warmup_steps=config.warmup_ratio,
                lr_scheduler_type="linear",
                seed=config.seed,
                logging_steps=config.logging_steps,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=torch.cuda.is_available(),
            ),
            train_dataset=train,
            data_collator=DataCollatorWithPadding(tokenizer) if padding == "longest" else None,
            callbacks=[clock],
        )
        trainer.train()
        added = peak_mb(memory.peaks())
        accuracy = None
        if evaluates:
            output = trainer.predict(validation)
            accuracy = float((np.asarray(output.predictions).argmax(1) == output.label_ids).mean())
    seconds = np.diff(clock.ends)[WARM_UP_STEPS - 1 :]
    return Measurement(float(seconds.mean()), len(clock.ends), added, accuracy=accuracy)


def choose_parameters(model: Any, config: TrainConfig) -> Any:
    """Freeze by name, or wrap with peft: the lines that stand in everybody's notebook."""
    if config.strategy == "full":
        return model
    if config.strategy == "lora":
        from peft import LoraConfig, get_peft_model

        return get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules="all-linear"))
    depth = model.config.num_hidden_layers
    top = tuple(f"encoder.layer.{layer}." for layer in range(depth - int(config.strategy_args.get("top_k", 2)), depth))
    trains = {
        "head_only": lambda name: name.startswith("classifier"),
        "partial": lambda name: name.startswith("classifier") or any(part in name for part in top),
        "bitfit": lambda name: name.endswith(".bias"),
    }[config.strategy]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains(name))
    return model


def _rows(inputs: Any, split: Literal["train", "validation"], tokenizer: Any, padding: Padding) -> Rows:
    table = inputs.prepared.read(split).iloc[inputs.sample(split)]
    return Rows(tokenizer, table["text"].tolist(), table["label"].tolist(), padding, inputs.max_length(tokenizer))
