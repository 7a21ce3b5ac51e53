"""How a model does on the test part of a second data set, which it was never trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.config import SplitConfig
from pipeline.data.prepared import PreparedData, prepare
from pipeline.data.problem import Problem
from pipeline.data.sources import LABEL, TEXT
from pipeline.data.splits import choose_sample
from pipeline.errors import ConfigError, DataError, enumerate_some
from pipeline.evaluation.metrics import report_by_class, score_predictions
from pipeline.evaluation.predictions import predict, tabulate, write_csv
from pipeline.stages.progress import say
from pipeline.tracking.runs import RunLogger
from pipeline.training.model_folder import FineTunedModel


@dataclass(frozen=True)
class TransferData:
    """A second data set, test-only."""

    dataset: str
    """As it was typed."""
    prepared: PreparedData
    classes: tuple[str, ...]
    """Its classes in the order of those of the first data set."""


def check_transfer(dataset: str, problem: Problem) -> None:
    """Hold that there is something that a second data set can be asked.

    Args:
        problem: Of the first data set.

    Raises:
        ConfigError: It is not classes of single texts.
    """
    if problem.pairs or problem.score_range:
        raise ConfigError(
            f"--transfer-dataset {dataset}: a second data set is scored for classes of single texts, but the first one has "
            f"{problem.describe()}. Leave it out."
        )


def find_transfer(dataset: str, labels: Sequence[str], classes: Sequence[str], cache_dir: str, split_seed: int) -> TransferData:
    """Prepare the second data set: by the parts that it comes with, else by the random split with `split_seed`.

    Args:
        labels: Its classes in the order of `classes`; found by name if empty.
        classes: Those of the first data set.

    Raises:
        DataError: It cannot be read, or has other classes.
    """
    by_parts = SplitConfig(split="official", cache_dir=cache_dir, split_seed=split_seed, labels=tuple(labels))
    try:
        prepared, _ = prepare(dataset, by_parts)
    except DataError:  # of one part only; another mistake is met again
        prepared, _ = prepare(dataset, dataclasses.replace(by_parts, split="random"))
    theirs = prepared.manifest.classes
    if len(theirs) != len(classes) or (not labels and set(theirs) != set(classes)):
        raise DataError(
            f"--transfer-dataset {dataset}: has the classes {enumerate_some(theirs)}, but the model knows "
            f"{enumerate_some(classes)}. Give --transfer-labels, its classes in the order of those, or another data set."
        )
    return TransferData(dataset, prepared, tuple(theirs if labels else classes))


def log_transfer(
    model: FineTunedModel, classes: Sequence[str], data: TransferData, home: PreparedData, limit: int | None, logger: RunLogger
) -> None:
    """Score the model on the second test part; scores, predictions and what overlaps the model's training texts go to the run.

    Args:
        classes: Of the first data set, in the order in which those of `data` stand.
        home: What the model was trained on, or tested on before.
        limit: At most so many texts, the same for every model.
    """
    prepared = data.prepared
    table = prepared.read("test")
    table = table.iloc[choose_sample(len(table), limit, 0)].reset_index(drop=True)
    texts: list[str] = table[TEXT].tolist()
    number = {name: place for place, name in enumerate(data.classes)}
    gold = np.array([number[name] for name in prepared.manifest.classes], np.int64)[table[LABEL].to_numpy()]
    order = [model.classes.index(name) for name in classes]
    found = predict(lambda chosen: model.predict_texts(chosen)[:, order], texts, gold, list(data.classes))
    scores = score_predictions(gold, found.predicted, len(data.classes))
    repeated = int(pd.Series(texts).isin(set(home.read("train")[TEXT])).sum())
    logger.log_text(write_csv(tabulate(texts, gold, found, list(data.classes))), "transfer_predictions.csv")
    by_class = pd.DataFrame(report_by_class(gold, found.predicted, list(data.classes))).T
    logger.log_text(by_class.to_csv(index_label="class"), "transfer_per_class.csv")
    logger.set_tags({"transfer_dataset": data.dataset, "transfer_fingerprint": prepared.manifest.fingerprint})
    logger.log_metrics(
        {
            **{f"transfer/{name}": value for name, value in scores.items()},
            "transfer/examples": len(gold),
            "transfer/overlap_train_exact": 100 * repeated / max(1, len(gold)),
        }
    )
    say(
        f"Transfer to {data.dataset}: accuracy {scores['accuracy']:.4f}, f1 macro {scores['f1_macro']:.4f} on {len(gold):,} "
        f"texts of its test part, {repeated:,} of which stand in the train part of the first data set"
    )
