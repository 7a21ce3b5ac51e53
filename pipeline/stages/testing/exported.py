"""A model that `export` wrote, tested as it answered here: with its length, and the thresholds that libraries do not apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline import config as configs
from pipeline.errors import enumerate_some
from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.evaluation.task import ClassificationTask, Task
from pipeline.modeling.foreign_folders import ExportedOutputs, read_exported
from pipeline.modeling.loading import find_outputs
from pipeline.modeling.model_sources import ModelAddress
from pipeline.training.saved_model import FineTunedModel


def read_outputs(address: ModelAddress) -> ExportedOutputs | None:
    """What `export` wrote of the model's outputs; None of a model that it did not write."""
    return read_exported(address.adapter.folder if address.adapter else address.folder)


def with_own_length(config: configs.EvaluateConfig, made: ExportedOutputs) -> configs.EvaluateConfig:
    """The options, with the model's own length in place of the default."""
    return config if "max_length" in config.explicit else replace(config, max_length=made.max_length)


def with_own_thresholds(
    model: FineTunedModel, made: ExportedOutputs, address: ModelAddress, model_labels: Sequence[str]
) -> FineTunedModel:
    """The model, with the thresholds that it was exported with.

    Args:
        model_labels: As `--model-labels` has them.
    """
    classes = model.problem.classes
    if made.label_type != model.problem.label_type or len(made.labels) != len(classes):
        return model
    rows = find_outputs(address, len(made.labels), classes, model_labels).rows
    return replace(model, task=_settle(model.task, made, rows)) if rows else model


def _settle(task: Task, made: ExportedOutputs, rows: Sequence[int]) -> Task:
    """The task with the thresholds.

    Args:
        rows: For each class of the task the output that stands for it.
    """
    if isinstance(task, ClassificationTask) and made.threshold is not None and len(rows) == 2:
        is_turned = rows[1] == 0  # then the first class is the one that the threshold is of
        return replace(task, threshold=1 - made.threshold if is_turned else made.threshold)
    if isinstance(task, MultiLabelTask) and len(made.thresholds) == len(rows):
        return replace(task, thresholds=tuple(made.thresholds[row] for row in rows))
    return task


def describe_exported(model: FineTunedModel, made: ExportedOutputs, name: str) -> Iterator[str]:
    """What is taken over from the folder, as sentences.

    Args:
        name: As `--model` has it.
    """
    task, decided = model.task, ""
    if isinstance(task, ClassificationTask) and task.threshold is not None:
        decided = f", and decides by its threshold: {task.classes[1]} from a probability of {task.threshold:.4g} on"
    elif isinstance(task, MultiLabelTask) and task.thresholds:
        each = [f"{label} {value:.4g}" for label, value in zip(task.classes, task.thresholds, strict=True)]
        decided = f", and decides by its thresholds: {enumerate_some(each, 10)}"
    yield f"--model {name}: was written by export. It reads {model.max_length} tokens at most{decided}."
    if made.long_texts != model.reading.way:
        yield (
            f"--model {name}: read long texts by --long-texts {made.long_texts}, and by {model.reading.way} here. Give "
            f"--long-texts {made.long_texts} to test it so."
        )
