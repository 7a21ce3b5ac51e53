"""How long a model takes to answer: one text at a time, and many in batches.

All that lies between a text and its output counts: tokenization, the model, and bringing outputs back from a GPU.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.columns import Input

Answer = Callable[[Sequence[Input]], object]

TEXTS = 50
"""Are answered one by one in a round: the longest stands for the longest hundredth of the data."""
ROUNDS = 3, 20
"""So many at least, and at most."""
FEW_TEXTS = 10
_PATIENCE = 5  # times the seconds that were asked for
BATCHES = 8, 32, 128, 512
_FEWEST, _MOST = 32, 4096  # texts whose batches are timed


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a text to its output."""

    median: float
    low: float
    """Median of the quickest round."""
    high: float
    """Median of the slowest round: how far the two lie apart says how steady the machine was."""
    p99: float
    calls: int


@dataclass(frozen=True)
class Throughput:
    """Answers in batches."""

    texts_per_second: float
    batch_size: int
    """With which they were most."""


def spread_by_length(inputs: Sequence[Input], count: int) -> list[Input]:
    """So many of the inputs, from short to long: the middles of equal shares of all; all where they are no more."""
    ordered = sorted(inputs, key=_letters)
    if len(ordered) <= count:
        return ordered
    return [ordered[int((place + 0.5) * len(ordered) / count)] for place in range(count)]


def _letters(given: Input) -> int:
    return len(given) if isinstance(given, str) else sum(map(len, given))


def time_single(answer: Answer, inputs: Sequence[Input], seconds: float) -> Latency:
    """Answer the same texts one by one, round after round in the same order; a first round is not counted.

    Args:
        seconds: About how long. At least three rounds are timed, of a few texts where those of all would take very much longer.
    """
    chosen = spread_by_length(inputs, FEW_TEXTS)
    with _undisturbed():
        each = float(np.median(_time_round(answer, chosen)))  # the very first answer takes long
        all_texts = spread_by_length(inputs, TEXTS)
        if each * len(all_texts) * (1 + ROUNDS[0]) <= _PATIENCE * seconds:
            chosen, each = all_texts, float(np.mean(_time_round(answer, all_texts)))
        rounds = min(ROUNDS[1], max(ROUNDS[0], round(seconds / (each * len(chosen)))))
        times = 1000 * np.array([_time_round(answer, chosen) for _ in range(rounds)])
    medians = np.median(times, axis=1)
    return Latency(
        median=float(np.median(times)),
        low=float(medians.min()),
        high=float(medians.max()),
        p99=float(np.quantile(times, 0.99)),
        calls=times.size,
    )


def _time_round(answer: Answer, inputs: Sequence[Input]) -> list[float]:
    """Seconds of each answer; the texts come in an order of their own, which is always the same."""
    times = []
    for place in np.random.default_rng(0).permutation(len(inputs)):
        began = time.perf_counter()
        answer([inputs[place]])
        times.append(time.perf_counter() - began)
    return times


def time_batches(answer: Answer, inputs: Sequence[Input], seconds: float) -> Throughput:
    """Answer texts, sorted by length, in batches of each size that is not larger than their number, once.

    Args:
        seconds: About how long all sizes together may take.
    """
    few = spread_by_length(inputs, BATCHES[0])
    with _undisturbed():
        answer(few)
        began = time.perf_counter()
        answer(few)
        speed = len(few) / (time.perf_counter() - began)  # larger batches are hardly slower
        many = min(_MOST, max(_FEWEST, int(speed * seconds / len(BATCHES))))
        chosen = spread_by_length(inputs, many)[::-1]  # the longest first, which need most memory
        sizes = [size for size in BATCHES if size <= len(chosen)] or BATCHES[:1]
        return max((_time_size(answer, chosen, size) for size in sizes), key=lambda found: found.texts_per_second)


def _time_size(answer: Answer, inputs: Sequence[Input], size: int) -> Throughput:
    answer(inputs[:size])
    began = time.perf_counter()
    for start in range(0, len(inputs), size):
        answer(inputs[start : start + size])
    return Throughput(len(inputs) / (time.perf_counter() - began), size)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Within the block Python's garbage collector rests, as in `timeit`: it would walk over all that this process holds."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
