"""Which of the rows that may be the best answers fastest, where that is more than the unsteadiness of the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.comparison.conclusions.phrases import enumerate_rows
from pipeline.comparison.statistics import RowStatistics
from pipeline.evaluation.statistics.intervals import Interval

_BETWEEN_PROCESSES = 1.15
"""How far medians of one model lay apart in processes of one machine, which the rounds of one process do not show."""
_WAYS = {"": "", "merged_": ", with its adapters merged,"}


@dataclass(frozen=True)
class _Answer:
    """The quickest way in which a row answers one text."""

    row: int
    way: str
    milliseconds: Interval
    """Median, and the medians of the quickest and of the slowest round of all seeds."""


def say_fastest(rows: Sequence[RowStatistics], table: pd.DataFrame, candidates: Sequence[int]) -> str:
    """Which of the candidates answer one text fastest; a sentence.

    The ranges from the quickest to the slowest round, over all seeds, decide: a row is slower where its range lies above that
    of the row with the smallest median by more than processes differ. Empty where a candidate was not measured, or not all
    were in one setting.

    Args:
        candidates: Numbers of the rows that may be the best, that of the best score first.
    """
    answers = [answer for number in candidates if (answer := _find_quickest(table, number))]
    if len(answers) < len(candidates):
        return ""
    if "predict_setting" in table and table["predict_setting"].iloc[list(candidates)].nunique() > 1:
        return ""
    fastest = min(answers, key=lambda answer: answer.milliseconds.value)
    if len(answers) == 1:
        return f"{_name(rows, fastest)} answers one text in {_say(fastest)}."
    equal = [answer for answer in answers if answer.milliseconds.low <= _BETWEEN_PROCESSES * fastest.milliseconds.high]
    names = enumerate_rows(rows, [answer.row for answer in equal], "rows")
    merged = [answer.row for answer in equal if answer.way]
    ways = f" ({enumerate_rows(rows, merged, 'rows')} with adapters merged)" if merged else ""
    if len(equal) == len(answers):
        medians = sorted(answer.milliseconds.value for answer in answers)
        between = f"{medians[0]:.3g} to {medians[-1]:.3g} ms"
        return f"No difference was shown in how fast {names} answer{ways}: one text in {between}."
    those = enumerate_rows(rows, [answer.row for answer in answers], "rows")
    top = answers[0]
    against = f" instead of the {_say(top)} of {_name(rows, top).rstrip(',')}"
    if top in equal:
        second = min((answer for answer in answers if answer not in equal), key=lambda answer: answer.milliseconds.value)
        against = f"; {_name(rows, second)} follows with {_say(second)}"
    if len(equal) == 1:
        return f"Of {those}, {_name(rows, fastest)} answers one text fastest, in {_say(fastest)}{against}."
    shown = f"and no difference between them was shown: {_say(fastest)}{against}."
    return f"Of {those}, {names} answer one text fastest{ways}, {shown}"


def _name(rows: Sequence[RowStatistics], answer: _Answer) -> str:
    return f"{rows[answer.row].name}{_WAYS[answer.way]}"


def _find_quickest(table: pd.DataFrame, number: int) -> _Answer | None:
    found = [_Answer(number, way, _read(table, number, way)) for way in _WAYS]
    measured = [answer for answer in found if not any(map(math.isnan, vars(answer.milliseconds).values()))]
    return min(measured, key=lambda answer: answer.milliseconds.value, default=None)


def _read(table: pd.DataFrame, number: int, way: str) -> Interval:
    columns = (f"{way}latency_ms_{name}" for name in ("median", "low", "high"))
    return Interval(*(float(table[column].iloc[number]) if column in table else math.nan for column in columns))


def _say(answer: _Answer) -> str:
    value, low, high = answer.milliseconds.value, answer.milliseconds.low, answer.milliseconds.high
    return f"{value:.3g} ms ({low:.3g} to {high:.3g})"


def describe_latency(table: pd.DataFrame, number: int) -> str:
    """How long a row takes to answer one text, in its quicker way; empty where that was not measured."""
    answer = _find_quickest(table, number)
    return "" if answer is None else f"{answer.milliseconds.value:.3g} ms{' with its adapters merged' if answer.way else ''}"
