"""How the scores of several runs vary, together, over other test texts: a bootstrap of the texts (Efron 1979)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metric import Answers, Counts, Draws, LabelType, Metric, resampled
from pipeline.evaluation.statistics.intervals import Estimate, estimate

RESAMPLES = 10_000
FEWEST_RESAMPLES = 1_000
MOST_SORTED = 2_000_000
"""Texts, classes and runs multiplied, of which the texts of `FEWEST_RESAMPLES` draws are sorted: some seconds."""

_WORK = 2e10  # products of a weight and an indicator: a few seconds
_WORK_OF_A_DRAW = 60
_ADDED_IN_PAIRS = 8  # numbers that lie together, or more
_SPARSE_FROM = 16  # classes; a product with few non-zeros costs about as much as one with so many dense columns
_CELLS = 2_000_000  # of any matrix held at a time
_COUNTS = 250_000  # the same of counts, of which every metric makes several more: they stay in the processor's cache
_FEWEST_COUNTED = 64  # resamples whose counts are made together, however many columns they have
_HELD = 20_000_000  # scores of all resamples and runs, 160 MB; for more metrics the texts are drawn again


@dataclass(frozen=True)
class ResampledScores:
    """Scores of runs that were tested on the same texts."""

    scores: dict[str, NDArray[np.float64]]
    """Name of each metric -> its values on the texts as they are; shape [runs]."""
    covariance: dict[str, NDArray[np.float64]]
    """The same -> covariance of the runs' values over resampled texts; shape [runs, runs]."""
    resamples: int
    """How many times the texts were drawn."""

    @property
    def runs(self) -> int:
        """How many there are."""
        return len(next(iter(self.covariance.values())))

    def each(self, numbers: Sequence[int]) -> NDArray[np.float64]:
        """For each of the numbered runs the contrast that is its score; shape [numbers, runs]."""
        contrasts = np.zeros((len(numbers), self.runs))
        contrasts[np.arange(len(numbers)), numbers] = 1
        return contrasts

    def estimate(self, parts: Sequence[NDArray[np.float64]]) -> dict[str, Estimate]:
        """The same sum of means over seeds of every metric, by name; see `intervals.estimate`."""
        involved = np.flatnonzero(np.any([part.any(axis=0) for part in parts], axis=0))
        square = np.ix_(involved, involved)  # a product with the zeros of a thousand other runs takes a hundred times as long
        parts = [part[:, involved] for part in parts]
        return {name: estimate(values[involved], self.covariance[name][square], parts) for name, values in self.scores.items()}


def resample_scores(
    gold: NDArray[Any],
    predicted: NDArray[Any],
    classes: int,
    resamples: int | None = None,
    seed: int = 0,
    probabilities: Sequence[NDArray[np.float64]] = (),
) -> ResampledScores:
    """Draw as many texts as there are, with replacement, again and again; each draw scores all runs.

    The same texts are drawn for every run, so differences between runs are paired. Of very many texts, runs and classes
    fewer resamples are drawn, at least `FEWEST_RESAMPLES`; the standard error is then within 2 % of that of many. Metrics that
    sort the texts see the first `FEWEST_RESAMPLES` alone, and are left out where that would take long (`sorts_in_time`).

    Args:
        gold: Index of the true class, shape [texts]; of label sets whether each is true, shape [texts, classes].
        predicted: Index of the predicted class, shape [runs, texts]; of label sets shape [runs, texts, classes].
        classes: Number of classes, those that are neither true nor predicted included.
        resamples: How many draws; as many as time allows, at most `RESAMPLES`, if not given.
        seed: Equal seeds draw equal texts.
        probabilities: Of every run, that of every class; shape [texts, classes] each. Metrics of these need them.
    """
    texts, runs = len(gold), len(predicted)
    if resamples is None:
        columns = 2 * classes + 1 if gold.ndim == 2 else 2 * min(classes, _SPARSE_FROM)
        work = texts * (runs * columns + _WORK_OF_A_DRAW)
        resamples = int(np.clip(_WORK / max(1, work), FEWEST_RESAMPLES, RESAMPLES))
    ones = np.ones((1, texts), np.float32)
    blocks = list((_blocks_of_sets if gold.ndim == 2 else _blocks)(gold, predicted, classes))
    by_text = _measure_texts(gold, predicted, classes, probabilities)
    to_sort = probabilities if sorts_in_time(texts, classes, runs) else ()

    def draw(most: int) -> Iterator[NDArray[np.float32]]:  # the same texts each time
        return _draw(texts, min(most, resamples), np.random.default_rng(seed))

    summed = [metric for metric in resampled(_label_type(gold)) if metric.from_counts or metric.name in by_text]
    covariance: dict[str, NDArray[np.float64]] = {}
    at_once = max(1, _HELD // (resamples * runs))
    for start in range(0, len(summed), at_once):
        some = summed[start : start + at_once]
        covariance |= _covariances(_score(weights, gold, blocks, classes, by_text, some) for weights in draw(resamples))
    at_once = max(_FEWEST_COUNTED, _COUNTS // texts)
    covariance |= _covariances(
        _score_sorted(weights[first : first + at_once], gold, to_sort)
        for weights in draw(FEWEST_RESAMPLES)
        for first in range(0, len(weights), at_once)
    )
    as_they_are = _score(ones, gold, blocks, classes, by_text, summed) | _score_sorted(ones, gold, to_sort)
    return ResampledScores({name: values[0] for name, values in as_they_are.items()}, covariance, resamples)


def _covariances(scored: Iterable[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """Name of each metric -> covariance of the runs' scores, of some resamples after others; shape [runs, runs]."""
    drawn: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for scores in scored:
        for name, values in scores.items():
            drawn[name].append(values)
    return {name: _covariance(_join(drawn.pop(name))) for name in list(drawn)}


def _covariance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `numpy.cov` gives it, but in place: of a thousand runs a copy takes 80 MB.

    Args:
        values: Not needed any more; shape [resamples, runs].
    """
    by_run = values.T
    by_run -= np.average(by_run, axis=1)[:, None]
    products: NDArray[np.float64] = np.dot(by_run, by_run.T)
    products *= np.true_divide(1, len(values) - 1)
    return products


def _join(parts: list[NDArray[np.float64]], axis: int = 0) -> NDArray[np.float64]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def sorts_in_time(texts: int, classes: int, runs: int) -> bool:
    """Whether metrics that sort the texts of each draw are computed of so many."""
    return texts * classes * runs <= MOST_SORTED


def _label_type(gold: NDArray[Any]) -> LabelType:
    return "multi" if gold.ndim == 2 else "class"


def _measure_texts(
    gold: NDArray[Any], predicted: NDArray[Any], classes: int, probabilities: Sequence[NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Name of each metric that is a mean over texts -> its value for each text; shape [texts, runs]."""
    answers = [
        Answers(gold, mine, classes, (lambda run=run: probabilities[run]) if probabilities else None)  # type: ignore[misc]
        for run, mine in enumerate(predicted)
    ]
    return {
        metric.name: np.stack([metric.of_texts(mine) for mine in answers], axis=1)
        for metric in resampled(_label_type(gold))
        if metric.of_texts and (probabilities or not metric.uses_probabilities)
    }


def _draw(texts: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """How often each text is in each resample; a few resamples at a time, shape [resamples, texts] each.

    What is yielded is overwritten by the next.
    """
    drawn = np.empty((min(resamples, max(1, _CELLS // texts)), texts), np.float32)
    for start in range(0, resamples, len(drawn)):
        weights = drawn[: resamples - start]
        few = max(1, _COUNTS // texts)
        for first in range(0, len(weights), few):
            some = weights[first : first + few]
            chosen = generator.integers(0, texts, some.shape, dtype=np.int64)
            chosen += np.arange(len(some))[:, None] * texts
            some[:] = np.bincount(chosen.ravel(), minlength=some.size).reshape(some.shape)
        yield weights


def _runs_together(classes: int) -> bool:
    """Whether all runs of a class stand together among columns, else all classes of a run.

    Metrics add over a few classes several times as fast where runs stand together. Eight and more numbers that stand together
    numpy adds in pairs, fast enough.
    """
    return classes < _ADDED_IN_PAIRS


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
        of_run, of_class = (1, len(chosen)) if _runs_together(classes) else (2 * classes, 1)
        offsets = np.arange(len(chosen))[:, None] * of_run
        right = chosen == gold
        rows = np.concatenate([np.nonzero(right)[1], np.tile(np.arange(texts), len(chosen))])
        columns = np.concatenate([(offsets + gold * of_class)[right], (offsets + (classes + chosen) * of_class).ravel()])
        shape = (texts, len(chosen) * 2 * classes)
        indicators = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
        yield indicators.toarray() if dense else indicators


def _blocks_of_sets(gold: NDArray[np.bool_], predicted: NDArray[np.bool_], classes: int) -> Iterator[NDArray[np.float32]]:
    """The same of label sets; shape [texts, runs * (2 * classes + 1)]. A run's last column says of which texts all is right."""
    step = max(1, _CELLS // ((2 * classes + 1) * len(gold)))
    for start in range(0, len(predicted), step):
        chosen = predicted[start : start + step]
        exact = (chosen == gold).all(axis=2, keepdims=True)
        columns = np.concatenate([chosen & gold, chosen, exact], axis=2).astype(np.float32)
        by_text = columns.transpose(1, 2, 0) if _runs_together(classes) else columns.transpose(1, 0, 2)
        yield np.ascontiguousarray(by_text).reshape(len(gold), -1)


def _score(
    weights: NDArray[np.float32],
    gold: NDArray[Any],
    blocks: list[Any],
    classes: int,
    by_text: dict[str, NDArray[np.float64]],
    metrics: Sequence[Metric],
) -> dict[str, NDArray[np.float64]]:
    """Scores by counts, and means over texts, of every run with the texts weighted; shape [resamples, runs] each."""
    of_sets = gold.ndim == 2
    kinds = 2 * classes + of_sets
    truth = gold.astype(np.float32) if of_sets else np.zeros((len(gold), classes), np.float32)
    if not of_sets:
        truth[np.arange(len(gold)), gold] = 1
    support = (weights @ truth).astype(np.float64)[:, None, :]
    counted = [metric for metric in metrics if metric.from_counts]
    scores: dict[str, list[NDArray[np.float64]]] = {metric.name: [] for metric in counted}
    for indicators in blocks if counted else ():
        runs = indicators.shape[1] // kinds
        step = max(_FEWEST_COUNTED, _COUNTS // indicators.shape[1])
        for start in range(0, len(weights), step):
            rows = slice(start, start + step)
            # Sums of whole numbers: exact in float32 up to 16 million texts, in whatever order they are added.
            counts = (weights[rows] @ indicators).astype(np.float64)
            if _runs_together(classes):
                counts = counts.reshape(-1, kinds, runs).transpose(0, 2, 1)
            else:
                counts = counts.reshape(-1, runs, kinds)
            right, predicted = counts[:, :, :classes], counts[:, :, classes : 2 * classes]
            drawn = Counts(right, predicted, support[rows], len(gold), counts[:, :, -1] if of_sets else None)
            for metric in counted:
                values = metric.of_counts(drawn)
                if not start:  # one after the other in memory as they are here: so they are added up in one order
                    scores[metric.name].append(np.empty_like(values, shape=(len(weights), runs)))
                scores[metric.name][-1][rows] = values
    found = {name: _join(scores.pop(name), axis=1) for name in list(scores)}
    means = {metric.name: by_text[metric.name] for metric in metrics if metric.name in by_text}
    return found | {name: weights @ values / len(gold) for name, values in means.items()}


def _score_sorted(
    weights: NDArray[np.float32], gold: NDArray[Any], probabilities: Sequence[NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Scores that sort the texts, of every run with the texts weighted; shape [resamples, runs] each."""
    by_metric = {metric.name: metric.from_draws for metric in resampled(_label_type(gold)) if metric.from_draws}
    weights = np.asfortranarray(weights)  # a text's draws lie together, so that they are added at once

    by_run = []
    for given in probabilities:
        draws = Draws(gold, given, weights)
        by_run.append([from_draws(draws) for from_draws in by_metric.values()])
    return {name: np.stack(values, axis=1) for name, values in zip(by_metric, zip(*by_run, strict=True), strict=bool(by_run))}
