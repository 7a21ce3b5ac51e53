"""The test of a model: which texts, and what comes of asking it for their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.csv_text import write_csv
from pipeline.data.columns import LABEL, PAIR, TEXT, Input
from pipeline.data.prepared import PreparedData
from pipeline.data.splits import choose_sample
from pipeline.evaluation.metric import measure
from pipeline.evaluation.task import Answer, EvaluationReport, Task
from pipeline.evaluation.testing.predictions import Decide, predict, report_by_class, tabulate


def read_test(prepared: PreparedData, limit: int | None, seed: int) -> pd.DataFrame:
    """The test texts that are used: all, or `limit` of them drawn by `seed`."""
    table = prepared.read("test")
    return table.iloc[choose_sample(len(table), limit, seed)].reset_index(drop=True)


def inputs_of(table: pd.DataFrame) -> list[Input]:
    """What a model is asked of each row: a text, or a pair of them."""
    return list(zip(*(table[name] for name in (TEXT, PAIR)), strict=True)) if PAIR in table else table[TEXT].tolist()


def score_test(task: Task, answer: Answer, table: pd.DataFrame, classes: list[str], title: str) -> EvaluationReport:
    """Scores, tables and pictures of a model's predictions for the texts.

    Args:
        classes: In the order of the labels of `table`.
    """
    return task.test(inputs_of(table), table[LABEL].to_numpy(), answer, classes, title)


def score_transfer(
    probabilities: Callable[[Sequence[Input]], NDArray[np.float64]],
    known: Sequence[str],
    table: pd.DataFrame,
    classes: list[str],
    decide: Decide,
) -> EvaluationReport:
    """Scores and tables of a model's predictions for a second data set.

    Args:
        probabilities: Of each text the probability of every class that the model knows.
        known: Those classes in their order.
        classes: The same in the order of the labels of `table`.
        decide: The class by probabilities in that order.
    """
    texts: list[str] = table[TEXT].tolist()
    gold = table[LABEL].to_numpy()
    order = [known.index(name) for name in classes]
    predictions = predict(lambda chosen: probabilities(chosen)[:, order], texts, gold, classes, decide)
    by_class = pd.DataFrame(report_by_class(gold, predictions.predicted, classes)).T
    tables = {
        "predictions.csv": write_csv(tabulate(texts, gold, predictions, classes)),
        "per_class.csv": write_csv(by_class.reset_index(names="class")),
    }
    return EvaluationReport(measure(predictions.beside(gold, classes)), tables, {})
