"""The predictions that evaluated runs have recorded, read back from the tracking store."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from csv import Error as CsvError
from csv import reader
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import ArrowException

from pipeline.comparison.label_sets import check_sets, read_probabilities, read_sets
from pipeline.csv_text import BARE, GUARDED, unguard
from pipeline.data.columns import Input
from pipeline.errors import DamageError, PipelineError, shorten
from pipeline.json_text import parse_json
from pipeline.tracking.run_kinds import predicts_scores, predicts_sets
from pipeline.tracking.runs import Run, RunStore

FILE = "predictions.csv"
T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_SMALLEST = 5e-7  # what is written as 0 of six places
_BLOCK_BYTES = 2**26  # no text may be longer


@dataclass(frozen=True)
class RecordedPredictions:
    """What several models said of the same texts."""

    texts: Sequence[Input]
    gold: NDArray[Any]
    """Index of the true class, shape [texts]; of label sets whether each is true, shape [texts, labels]."""
    classes: list[str]
    predicted: dict[str, NDArray[Any]]
    """Run id -> index of the predicted class, shape [texts]; of label sets which were given, shape [texts, labels]."""
    confidence: dict[str, NDArray[np.float64]]
    """Run id -> probability of the predicted class, shape [texts]; of label sets of every label, shape [texts, labels].

    NaN where a model gives none.
    """
    missing: dict[str, str] = field(default_factory=dict)
    """Run id -> why its predictions are not among them."""
    probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Run id -> probability of every class, as rounded in the file; shape [texts, classes] each. Only where it gives all."""

    @property
    def of_sets(self) -> bool:
        """Whether a text has any number of labels."""
        return self.gold.ndim == 2

    def of_runs(self, ids: Collection[str]) -> RecordedPredictions:
        """Those of some of the runs."""

        def pick(by_run: Mapping[str, T]) -> dict[str, T]:
            return {run_id: value for run_id, value in by_run.items() if run_id in ids}

        predicted, missing = pick(self.predicted), pick(self.missing)
        if not predicted:
            return RecordedPredictions((), np.empty(0, np.int64), [], {}, {}, missing)
        confidence, probabilities = pick(self.confidence), pick(self.probabilities)
        return replace(self, predicted=predicted, confidence=confidence, missing=missing, probabilities=probabilities)

    @property
    def run_ids(self) -> list[str]:
        """The runs whose predictions are there."""
        return list(self.predicted)


def read_predictions(runs: Sequence[Run], store: RunStore) -> RecordedPredictions:
    """The predicted classes, or sets of labels, of runs that were tested on the same texts.

    A run whose file is gone or differs is named as missing; runs that predict scores have none, and are left out.
    """
    texts: Sequence[Input] = ()
    gold: NDArray[np.str_] | None = None
    said: dict[str, NDArray[np.str_]] = {}
    confidence: dict[str, NDArray[np.float64]] = {}
    scores: dict[str, Mapping[str, NDArray[np.float64]]] = {}
    missing: dict[str, str] = {}
    for run in runs:
        if predicts_scores(run):
            continue
        try:
            with store.open_artifact(run, FILE) as file:
                table = _read(file, with_texts=gold is None)
            if not len(table["gold"]):
                raise ValueError("it holds no text")
            if predicts_sets(run):
                check_sets(table["gold"])
                check_sets(table["pred"])
        except (PipelineError, OSError, ValueError, KeyError, CsvError, ArrowException) as error:
            missing[run.run_id] = f"its {FILE} cannot be read ({shorten(' '.join(str(error).split()), 300)})"
            continue
        if gold is None:
            gold, texts = table["gold"], table["texts"]
        elif not np.array_equal(table["gold"], gold):
            missing[run.run_id] = f"its {FILE} holds other test texts than that of run {next(iter(said))}"
            continue
        said[run.run_id], confidence[run.run_id] = table["pred"], table["confidence"]
        scores[run.run_id] = table["scores"]
    if gold is None:
        return RecordedPredictions((), np.empty(0, np.int64), [], {}, {}, missing)
    first = next(run for run in runs if run.run_id in said)
    index = {name: number for number, name in enumerate(_classes(first, store))}
    if any(predicts_sets(run) for run in runs):
        for written in (gold, *said.values()):
            read_sets(written, index)  # names that are in no list of classes
        classes = list(index)
        probabilities = {run_id: read_probabilities(mine, classes, len(gold)) for run_id, mine in scores.items()}
        sets = {run_id: read_sets(written, index) for run_id, written in said.items()}
        whole = {run_id: mine for run_id, mine in probabilities.items() if not np.isnan(mine).any()}
        return RecordedPredictions(texts, read_sets(gold, index), classes, sets, probabilities, missing, whole)
    for name in np.unique(np.concatenate([gold, *(np.unique(values) for values in said.values())])).tolist():
        index.setdefault(name, len(index))
    return RecordedPredictions(
        texts,
        _numbered(gold, index),
        list(index),
        {run_id: _numbered(values, index) for run_id, values in said.items()},
        confidence,
        missing,
        {
            run_id: np.stack([np.maximum(columns[name], _SMALLEST) for name in index], axis=1)
            for run_id, columns in scores.items()
            if columns.keys() == index.keys()
        },
    )


def read_record(run: Run, name: str, store: RunStore) -> Mapping[str, Any]:
    """A JSON file of a run; empty where it has none, as a model from elsewhere, or where it was deleted."""
    try:
        with store.open_artifact(run, name) as file:
            record = parse_json(file.read_text(encoding="utf-8"))
    except DamageError as error:
        _LOG.warning("%s It is left out here.", error)
        return {}
    except (PipelineError, OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _classes(run: Run, store: RunStore) -> list[str]:
    """All classes of the data, those without any test text, too; none if the run does not say."""
    try:
        with store.open_artifact(run, "per_class.csv") as file:
            table = pd.read_csv(file, usecols=["class"], dtype=str, keep_default_na=False)
            return list(dict.fromkeys(table["class"].map(unguard)))
    except DamageError as error:
        _LOG.warning("%s It is left out here.", error)
        return []
    except (PipelineError, OSError, ValueError):
        return []


def _inputs(columns: Sequence[list[str]]) -> Sequence[Input]:
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _numbered(names: NDArray[np.str_], index: Mapping[str, int]) -> NDArray[np.int64]:
    distinct, numbers = np.unique(names, return_inverse=True)
    return np.array([index[name] for name in distinct.tolist()], np.int64)[numbers]


def _read(file: Path, with_texts: bool) -> Mapping[str, Any]:
    """`gold` and `pred` as text (a class called 01 is not 1), `confidence`, `scores`, and `texts` if asked for."""
    from pyarrow import compute, csv, string

    # Not pandas: of long texts it takes ten times as long.
    with file.open(encoding="utf-8-sig", newline="") as lines:
        header = next(reader(lines), [])
    # Of few classes there is a score for each; of many there are two. A single one is a cosine, which is no probability.
    sentences, scores = header[: header.index("gold")], header[header.index("pred") + 1 :]
    if not sentences:
        raise ValueError("no column of texts is before gold")
    if len(scores) == 1:
        scores = []
    wanted = [*(sentences if with_texts else []), "gold", "pred", *scores]
    table = csv.read_csv(
        file,
        read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys((*sentences, "gold", "pred"), string()),
            strings_can_be_null=False,
        ),
    )
    columns = {name.removeprefix("score_"): table[name].to_numpy().astype(float) for name in scores}

    def texts_of(name: str) -> Any:
        return compute.replace_substring_regex(table[name], GUARDED, BARE)

    predicted = texts_of("pred").to_numpy().astype(str)
    return {
        "texts": _inputs([texts_of(name).to_pylist() for name in sentences]) if with_texts else (),
        "gold": texts_of("gold").to_numpy().astype(str),
        "pred": predicted,
        "confidence": _confidence(columns, predicted),
        "scores": columns,
    }


def _confidence(scores: Mapping[str, NDArray[np.float64]], predicted: NDArray[np.str_]) -> NDArray[np.float64]:
    """The probability of the predicted class: the highest one, unless a threshold decides between two."""
    if not scores:
        return np.full(len(predicted), np.nan)
    if len(scores) == 2 and set(np.unique(predicted).tolist()) <= scores.keys():
        first, second = scores.items()
        return np.where(predicted == first[0], first[1], second[1])
    highest: NDArray[np.float64] = np.stack(list(scores.values())).max(axis=0)
    return highest
