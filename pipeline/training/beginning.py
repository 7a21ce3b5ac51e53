"""Where a strategy begins that reads training texts first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.data.batching import TokenExamples, load_batch
from pipeline.data.pair_tokenization import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.training.saved_model import BuiltModel

if TYPE_CHECKING:
    import torch

_TEXTS_TO_BEGIN, _BATCH_TO_BEGIN = 256, 16


def begin(built: BuiltModel, train: TokenTable | TextPairs, pad_id: int, seed: int) -> None:
    """Let the strategy begin, from training texts that are as far apart as they get where it reads some."""
    import numpy as np
    import torch

    examples = train.as_examples(lambda table: TokenExamples(table, pad_id))
    size = len(examples.lengths)
    places = np.unique(np.linspace(0, size - 1, min(size, _TEXTS_TO_BEGIN)).astype(np.int64))

    def batches() -> Iterator[Mapping[str, torch.Tensor]]:
        for indices in np.split(places, range(_BATCH_TO_BEGIN, len(places), _BATCH_TO_BEGIN)):
            yield load_batch(examples, indices, torch.device("cpu")).inputs

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built.strategy.begin(built.model, batches)
