"""Scores of a model for many examples, fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.batching import Examples, plan_inference
from pipeline.data.long_texts import average_by_text
from pipeline.training.distributed import ALONE, DistributedContext

MAX_TOKENS = 8192

if TYPE_CHECKING:
    from torch import nn


def predict_logits(
    model: nn.Module, examples: Examples, device: Any, max_tokens: int = MAX_TOKENS, distributed: DistributedContext = ALONE
) -> NDArray[np.float32]:
    """Logits of the texts in their order, without dropout: of a text in several pieces the mean over them.

    Args:
        max_tokens: Size of a batch after padding, at most `MAX_TOKENS`.
        distributed: The processes among which the batches are dealt out; each is given all logits.

    Returns:
        Shape [texts, classes].
    """
    return average_by_text(predict_outputs(model, examples, device, max_tokens, distributed), examples.text_index)


def predict_outputs(
    model: nn.Module, examples: Examples, device: Any, max_tokens: int = MAX_TOKENS, distributed: DistributedContext = ALONE
) -> NDArray[np.float32]:
    """What the model puts out for each example; shape [examples, outputs]. The model's mode is put back afterwards."""
    import torch

    was_training = model.training
    model.eval()
    rows, order = [], []
    with torch.inference_mode():
        for indices in distributed.shard(plan_inference(examples.lengths, min(max_tokens, MAX_TOKENS))):
            batch = examples.batch(indices).to(device)
            with examples.as_model_input():
                output = model(**batch.inputs)
            rows.append(output.logits.float())
            order.append(indices)
    model.train(was_training)
    mine = (np.concatenate(order), torch.cat(rows).cpu().numpy()) if rows else None  # fewer batches than processes
    parts = [part for part in distributed.gather(mine) if part is not None]
    logits = np.concatenate([part for _, part in parts])
    ordered = np.empty_like(logits)
    ordered[np.concatenate([places for places, _ in parts])] = logits
    return ordered
