"""The test of a model: which texts, and what comes of asking it for their labels.

With the model folder's own code this is all that decides a test score, so a change here has models tested anew, and one in how
scores are shown or recorded has not.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline import config as configs
from pipeline.data.columns import LABEL, PAIR, TEXT
from pipeline.data.prepared import PreparedData
from pipeline.data.splits import choose_sample
from pipeline.evaluation.chance import SWAPPED, is_far_below_chance
from pipeline.evaluation.task import TestReport
from pipeline.fonts import warn_of_missing
from pipeline.stages.progress import WAY_OUT, count_classes, say
from pipeline.stages.testing.other_data import describe_amount
from pipeline.tracking.provenance import code_version
from pipeline.tracking.run_kinds import EXTERNAL
from pipeline.tracking.runs import Run, RunLogger
from pipeline.training.saved_model import FineTunedModel
from pipeline.training.setup import deciding_modules


def read_test(prepared: PreparedData, limit: int | None, seed: int) -> pd.DataFrame:
    """The test texts that are used: all, or `limit` of them drawn by `seed`."""
    table = prepared.read("test")
    return table.iloc[choose_sample(len(table), limit, seed)].reset_index(drop=True)


def score_test(model: FineTunedModel, classes: list[str], table: pd.DataFrame, title: str) -> TestReport:
    """Scores, tables and pictures of the model's predictions for the texts."""
    inputs = list(zip(*(table[name] for name in (TEXT, PAIR)), strict=True)) if PAIR in table else table[TEXT].tolist()
    return model.reading.test(inputs, table[LABEL].to_numpy(), model.predict, classes, title)


TESTING = ("pipeline.stages.testing.test", "pipeline.training.saved_model")
"""Where the code begins that decides a test score."""
_USUAL = configs.TrainConfig()


def scoring_version(trained: Run | None, *others: str) -> str:
    """Equal where the code that decides the test scores of a run is the same; of a model from elsewhere without one.

    Args:
        others: Further modules where such code begins.
    """
    params, strategy = (trained.params, trained.tags["strategy"]) if trained else ({}, EXTERNAL)
    own = deciding_modules(strategy, params.get("objective", _USUAL.objective), params.get("head", _USUAL.head))
    return code_version((*TESTING, *others, *own))


def log_test(
    model: FineTunedModel, classes: Sequence[str], table: pd.DataFrame, there: int, logger: RunLogger, title: str
) -> dict[str, float]:
    """Predict rows and write scores, predictions and pictures onto the run of `logger`.

    Args:
        classes: In the order of the labels of `table`.
        there: Of how many rows those of `table` were drawn.
    """
    if warning := warn_of_missing(list(classes), "classes"):
        say(warning)
    report = score_test(model, list(classes), table, title)
    for file, text in report.tables.items():
        logger.log_text(text, file)
    for file, figure in report.figures.items():
        logger.log_figure(figure, file)
    counts = count_classes(table[LABEL].to_numpy(), classes)
    if is_far_below_chance(report.metrics.get("recall_macro", 1.0), counts):
        say(f"{title}: the test scores are {SWAPPED}. {WAY_OUT}")
    measured = {f"test/{name}": value for name, value in {**report.metrics, **report.calibration}.items()}
    logger.log_metrics({**measured, "test/examples": len(table), "test/rows": there})
    return report.metrics


def describe_part(tested: Run) -> str:
    """`500 of 872 texts` where a test was of a part of its rows; nothing where it was of all, or that is not known."""
    used, there = (int(tested.metrics.get(name, 0)) for name in ("test/examples", "test/rows"))
    return describe_amount(used, there, "text_pair_column" in tested.params) if 0 < used < there else ""
