"""A trained baseline: what it has learned as a strategy's own predictor reads it, and the files that keep it.

`delta.safetensors` holds the numbers and `terms.json` the pieces of text that they count. Neither can run code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.columns import Input
from pipeline.errors import ModelError
from pipeline.evaluation.task import Task
from pipeline.failures import is_exhausted
from pipeline.json_text import parse_json
from pipeline.modeling.foreign_folders import DELTA
from pipeline.objectives.base import Objective
from pipeline.strategies.baseline import Baseline, Learned
from pipeline.training.inference import TrainedModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.strategies.baseline import Predictor

TERMS = "terms.json"


@dataclass(frozen=True)
class BaselineModel(TrainedModel):
    """What a baseline has learned, ready to predict."""

    strategy: Baseline
    learned: Learned
    objective: Objective
    task: Task

    @cached_property
    def _predictor(self) -> Predictor:
        return self.strategy.predictor(self.learned)

    def predict_and_count(self, inputs: Sequence[Input]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Outputs with shape [inputs, outputs], and zeros: texts are read whole."""
        import numpy as np

        return self._predictor([join_texts(given) for given in inputs]), np.zeros(len(inputs), np.int64)

    def write_delta(self, folder: Path) -> None:
        """Write numbers and terms."""
        import numpy as np
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(array) for name, array in self.learned.arrays.items()}, folder / DELTA)
        (folder / TERMS).write_text(json.dumps(self.learned.terms, ensure_ascii=False), encoding="utf-8")


def join_texts(given: Input) -> str:
    """A text as it is, both of a pair as one."""
    return given if isinstance(given, str) else " ".join(given)


def read_learned(folder: Path) -> Learned:
    """What `BaselineModel.write_delta` wrote.

    Raises:
        ModelError: It is damaged.
    """
    from safetensors.numpy import load_file

    try:
        return Learned(load_file(folder / DELTA), parse_json((folder / TERMS).read_text(encoding="utf-8")))
    except Exception as error:  # safetensors raises an error of its own
        if is_exhausted(error):
            raise
        raise ModelError(f"{folder}: {DELTA} or {TERMS} is missing or damaged: {error}") from error
