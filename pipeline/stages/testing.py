"""The test of a model: which texts, and what comes of asking it for their labels.

With the model folder's own code this is all that decides a test score, so a change here has models tested anew, and one in how
scores are shown or recorded has not.
"""

from __future__ import annotations

import pandas as pd

from pipeline.data.columns import LABEL, PAIR, TEXT
from pipeline.data.prepared import PreparedData
from pipeline.data.splits import choose_sample
from pipeline.evaluation.readings import TestReport
from pipeline.training.model_folder import FineTunedModel


def read_test(prepared: PreparedData, limit: int | None, seed: int) -> pd.DataFrame:
    """The test texts that are used: all, or `limit` of them drawn by `seed`."""
    table = prepared.read("test")
    return table.iloc[choose_sample(len(table), limit, seed)].reset_index(drop=True)


def score_test(model: FineTunedModel, classes: list[str], table: pd.DataFrame, title: str) -> TestReport:
    """Scores, tables and pictures of the model's predictions for the texts."""
    inputs = list(zip(*(table[name] for name in (TEXT, PAIR)), strict=True)) if PAIR in table else table[TEXT].tolist()
    return model.reading.test(inputs, table[LABEL].to_numpy(), model.predict, classes, title)
