"""Write a test's scores onto a run, with the version of the code that computed them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline import config as configs
from pipeline.code_version import code_version
from pipeline.data.columns import LABEL
from pipeline.evaluation.metrics.macro import RECALL
from pipeline.evaluation.statistics.chance import SWAPPED, is_far_below_chance
from pipeline.evaluation.testing.scoring import score_test
from pipeline.fonts import warn_of_missing
from pipeline.registry import FAMILIES
from pipeline.stages.progress import WAY_OUT, count_classes, say
from pipeline.stages.testing.other_data import describe_amount
from pipeline.tracking.run_kinds import EXTERNAL
from pipeline.tracking.run_options import logged_option
from pipeline.tracking.runs import Run, RunLogger
from pipeline.training.inference import TrainedModel
from pipeline.training.saved_model import plugin_modules

_USUAL = configs.TrainConfig()


def scoring_version(trained: Run | None) -> str:
    """Equal where the code that decides the test scores of a run is the same; of a model from elsewhere without one."""
    params, strategy = (trained.params, trained.tags["strategy"]) if trained else ({}, EXTERNAL)
    used = plugin_modules(strategy, params.get("objective", _USUAL.objective), params.get("head", _USUAL.head))
    return code_version((*used, *FAMILIES.modules()), test=True)  # a run does not say of which family its model is


def log_test(
    model: TrainedModel, classes: Sequence[str], table: pd.DataFrame, there: int, logger: RunLogger, title: str
) -> dict[str, float]:
    """Predict rows and write scores, predictions and pictures onto the run of `logger`.

    Args:
        classes: In the order of the labels of `table`.
        there: Of how many rows those of `table` were drawn.
    """
    if warning := warn_of_missing(list(classes), "classes"):
        say(warning)
    report = score_test(model.task, model.predict, table, list(classes), title)
    logger.log_texts(report.tables)
    for file, figure in report.figures.items():
        logger.log_figure(figure, file)
    counts = count_classes(table[LABEL].to_numpy(), classes)
    if is_far_below_chance(report.metrics.get(RECALL.name, 1.0), counts):
        say(f"{title}: the test scores are {SWAPPED}. {WAY_OUT}")
    measured = {f"test/{name}": value for name, value in {**report.calibration, **report.metrics, **report.beside}.items()}
    logger.log_outcome({**measured, "test/examples": len(table), "test/rows": there})
    return report.metrics


def describe_part(tested: Run) -> str:
    """`500 of 872 texts` where a test was of a part of its rows; nothing where it was of all, or that is not known."""
    used, there = (int(tested.metrics.get(name, 0)) for name in ("test/examples", "test/rows"))
    return describe_amount(used, there, logged_option(tested, "text_pair_column") is not None) if 0 < used < there else ""
