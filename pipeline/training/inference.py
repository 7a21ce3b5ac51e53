"""What every trained model can be asked, and the logits of an encoder for many examples, fast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.batching import Examples, inference_batches, load_batch
from pipeline.data.columns import Input, Problem
from pipeline.data.long_texts import average_by_text
from pipeline.evaluation.task import Task, softmax
from pipeline.objectives.base import Objective
from pipeline.training.distributed import ALONE, DistributedContext

if TYPE_CHECKING:
    from torch import nn


class TrainedModel(ABC):
    """A model that is ready to predict, whatever it is made of."""

    objective: Objective
    task: Task
    """The objective's, with what was chosen on validation data."""

    @abstractmethod
    def predict_and_count(self, inputs: Sequence[Input]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Outputs for texts or pairs of them, with shape [inputs, outputs], and how many tokens of each were not read."""

    @property
    def size_metrics(self) -> Mapping[str, float]:
        """The metrics of its size, under their names on a run."""
        return {}

    @property
    def problem(self) -> Problem:
        """What it predicts, and of what."""
        return self.objective.problem

    @property
    def classes(self) -> list[str]:
        """In the order of its outputs; none where it predicts scores."""
        return list(self.problem.classes)

    def predict(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """What the model puts out for texts or pairs of them; shape [inputs, outputs]."""
        return self.predict_and_count(inputs)[0]

    def predict_texts(self, texts: Sequence[Input]) -> NDArray[np.float64]:
        """Probability of every class; shape [texts, classes]."""
        return softmax(self.predict(texts))


def predict_logits(
    model: nn.Module, examples: Examples, device: Any, max_tokens: int | None = None, distributed: DistributedContext = ALONE
) -> NDArray[np.float32]:
    """Logits of the texts in their order, without dropout: of a text in several pieces the mean over them.

    Args:
        max_tokens: At most so many in a batch, after padding; never more than suit the device.
        distributed: The processes among which the batches are dealt out; each is given all logits.

    Returns:
        Shape [texts, classes].
    """
    return average_by_text(predict_outputs(model, examples, device, max_tokens, distributed), examples.text_index)


def predict_outputs(
    model: nn.Module, examples: Examples, device: Any, max_tokens: int | None = None, distributed: DistributedContext = ALONE
) -> NDArray[np.float32]:
    """What the model puts out for each example; shape [examples, outputs]. The model's mode is put back afterwards."""
    import torch

    was_training = model.training
    batches = inference_batches(examples.lengths, device, max_tokens)
    rows, order = [], []
    try:
        model.eval()
        with torch.inference_mode():
            for indices in distributed.shard(batches):
                batch = load_batch(examples, indices, device)
                with examples.as_model_input():
                    output = model(**batch.inputs)
                rows.append(output.logits.float())
                order.append(indices)
    finally:  # also where the memory does not suffice, and it is begun again
        model.train(was_training)
    mine = (np.concatenate(order), torch.cat(rows).cpu().numpy()) if rows else None  # fewer batches than processes
    parts = [part for part in distributed.gather(mine) if part is not None]
    logits = np.concatenate([part for _, part in parts])
    ordered = np.empty_like(logits)
    ordered[np.concatenate([places for places, _ in parts])] = logits
    return ordered
