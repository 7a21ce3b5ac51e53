"""How the scores of several runs vary, together, over other test texts: a bootstrap of the texts (Efron 1979)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
FEWEST_RESAMPLES = 1_000
SCORES = ("f1_macro", "accuracy")

_WORK = 2e10  # products of a weight and an indicator: a few seconds
_WORK_OF_A_DRAW = 60
_SPARSE_FROM = 16  # classes; a product with few non-zeros costs about as much as one with so many dense columns
_CELLS = 4_000_000  # of any matrix held at a time


@dataclass(frozen=True)
class ResampledScores:
    """Scores of runs that were tested on the same texts."""

    scores: dict[str, NDArray[np.float64]]
    """`f1_macro` and `accuracy` -> scores on the texts as they are; shape [runs]."""
    covariance: dict[str, NDArray[np.float64]]
    """The same -> covariance of the runs' scores over resampled texts; shape [runs, runs]."""
    resamples: int
    """How many times the texts were drawn."""


def resample_scores(
    gold: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: int,
    resamples: int | None = None,
    seed: int = 0,
) -> ResampledScores:
    """Draw as many texts as there are, with replacement, again and again; each draw scores all runs.

    The same texts are drawn for every run, so differences between runs are paired. Of very many texts, runs and classes
    fewer resamples are drawn, at least `FEWEST_RESAMPLES`; the standard error is then within 2 % of that of many.

    Args:
        gold: Index of the true class; shape [texts].
        predicted: Index of the predicted class; shape [runs, texts].
        classes: Number of classes; macro F1 averages over all of them, one that is neither true nor predicted counts 0.
        resamples: How many draws; as many as time allows, at most `RESAMPLES`, if not given.
        seed: Equal seeds draw equal texts.
    """
    texts, runs = len(gold), len(predicted)
    if resamples is None:
        work = texts * (runs * 2 * min(classes, _SPARSE_FROM) + _WORK_OF_A_DRAW)
        resamples = int(np.clip(_WORK / max(1, work), FEWEST_RESAMPLES, RESAMPLES))
    ones = np.ones((1, texts), np.float32)
    blocks = list(_blocks(gold, predicted, classes))
    found = {name: np.empty((resamples, runs)) for name in SCORES}
    done = 0
    for weights in _draw(texts, resamples, np.random.default_rng(seed)):
        rows = slice(done, done + len(weights))
        for name, values in _score(weights, gold, blocks, classes).items():
            found[name][rows] = values
        done += len(weights)
    return ResampledScores(
        {name: values[0] for name, values in _score(ones, gold, blocks, classes).items()},
        {name: np.cov(values, rowvar=False).reshape(runs, runs) for name, values in found.items()},
        resamples,
    )


def _draw(texts: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """How often each text is in each resample; a few resamples at a time, shape [resamples, texts] each."""
    step = max(1, _CELLS // texts)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        chosen = generator.integers(0, texts, (rows, texts), dtype=np.int64)
        chosen += np.arange(rows)[:, None] * texts
        yield np.bincount(chosen.ravel(), minlength=rows * texts).reshape(rows, texts).astype(np.float32)


def _blocks(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Iterator[Any]:
    """Indicators of some runs at a time; shape [texts, runs * 2 * classes] each.

    Of each run the first columns say, by class, which texts were predicted rightly, the others which were predicted so.
    """
    from scipy.sparse import csr_array

    texts = len(gold)
    dense = classes < _SPARSE_FROM
    step = max(1, _CELLS // (2 * classes * texts)) if dense else max(1, _CELLS // (2 * texts))
    for start in range(0, len(predicted), step):
        chosen = predicted[start : start + step]
        offsets = np.arange(len(chosen))[:, None] * 2 * classes
        right = chosen == gold
        rows = np.concatenate([np.nonzero(right)[1], np.tile(np.arange(texts), len(chosen))])
        columns = np.concatenate([(offsets + gold)[right], (offsets + classes + chosen).ravel()])
        shape = (texts, len(chosen) * 2 * classes)
        indicators = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
        yield indicators.toarray() if dense else indicators


def _score(
    weights: NDArray[np.float32], gold: NDArray[np.int64], blocks: list[Any], classes: int
) -> dict[str, NDArray[np.float64]]:
    """Scores of every run with the texts weighted; shape [resamples, runs] each."""
    truth = np.zeros((len(gold), classes), np.float32)
    truth[np.arange(len(gold)), gold] = 1
    support = (weights @ truth).astype(np.float64)[:, None, :]
    f1, accuracy = [], []
    for indicators in blocks:
        # Sums of whole numbers: exact in float32 up to 16 million texts, in whatever order they are added.
        counts = (weights @ indicators).astype(np.float64).reshape(len(weights), -1, 2, classes)
        right, predicted = counts[:, :, 0], counts[:, :, 1]
        f1.append((2 * right / np.maximum(1, predicted + support)).mean(axis=2))
        accuracy.append(right.sum(axis=2) / len(gold))
    return {"f1_macro": np.concatenate(f1, axis=1), "accuracy": np.concatenate(accuracy, axis=1)}
