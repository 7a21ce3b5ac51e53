"""The answer in plain words: which strategy to use, how sure that is, and at what cost. It says no more than the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.comparison.conclusions.fastest import describe_latency
from pipeline.comparison.conclusions.phrases import enumerate_rows, say_lead
from pipeline.comparison.conclusions.verdict import Verdict
from pipeline.comparison.statistics import Statistics

_MOST_PRICED = 3  # of more rows that may be the best the table says what each costs


@dataclass(frozen=True)
class Headline:
    """What a reader in a hurry takes along."""

    answer: str
    """Which to use; a sentence."""
    sure: tuple[str, ...]
    """How sure that is; sentences."""
    costs: tuple[tuple[str, str], ...] = ()
    """Name of a row, and what it costs, as the rest of a sentence; none where no row is named."""


def write_headline(verdict: Verdict, statistics: Statistics, table: pd.DataFrame, unequal: Sequence[str] = ()) -> Headline:
    """The headline of a comparison: where the verdict names no best row, neither does this.

    Args:
        unequal: In what the rows were not treated alike.
    """
    rows, top = statistics.rows, verdict.top
    if top is None or verdict.ahead:
        return Headline("No strategy can be named as the best.", (verdict.sentences[0],))
    name, tied, behind = rows[top].name, verdict.tied, verdict.behind
    if tied:
        answer = f"Use {name}; {enumerate_rows(rows, tied)} may do as well."
    elif behind:
        whom = "all others" if len(behind) == len(rows) - 1 else enumerate_rows(rows, behind)
        answer = f"Use {name}: it is better than {whom}."
    else:
        answer = f"{name} is the only row that can be judged, so there is nothing to compare it with."
    priced = [top, *tied][:_MOST_PRICED]
    compared = _leave_out_unlike(table, priced)
    costs = tuple((rows[number].name, f"{said}.") for number in priced if (said := _say_cost(compared, number)))
    fairness = (f"The rows were {' and '.join(unequal)}, so the comparison is not fair.",) if unequal else ()
    return Headline(answer, (*_say_sure(verdict, statistics, top), *fairness), costs)


def _say_sure(verdict: Verdict, statistics: Statistics, top: int) -> Iterator[str]:
    row, rows = statistics.rows[top], statistics.rows
    score, texts = row.score, f"{statistics.texts:,} test texts"
    assert score is not None  # it has predictions, else nothing were at the top
    label = f"{statistics.metric.label[0].upper()}{statistics.metric.label[1:]}"
    models = "one trained model" if row.seeds == 1 else f"{row.seeds} trained models"
    yield f"{label} of {score.value:.3f} (95 % interval {score.low:.3f} to {score.high:.3f}), from {texts} and {models}."
    if verdict.tied:
        to = enumerate_rows(rows, verdict.tied)
        yield f"No difference to {to} was shown, which is no proof that there is none."
    if verdict.behind:
        nearest = verdict.behind[0]
        yield f"Of what is shown to be worse, {rows[nearest].name} is nearest: by {say_lead(statistics, top, nearest)}."
    if row.seeds == 1:
        yield "With one seed that is said of the trained models; another seed may turn out otherwise."
    elif row.seeds == 2:
        yield "Two seeds hardly tell how much another would change."
    if verdict.unlearned:
        names = enumerate_rows(rows, verdict.unlearned)
        nothing = all(rows[number].learned_nothing for number in verdict.unlearned)
        yield f"{names} did not learn{'' if nothing else ' with enough of the seeds'}."
    if verdict.untested:
        yield f"Nothing is said of {enumerate_rows(rows, verdict.untested)}, without predictions."


def _leave_out_unlike(table: pd.DataFrame, numbers: Sequence[int]) -> pd.DataFrame:
    """The table without times that these rows do not have from one setting: side by side they would be compared."""
    times = {"setting": ["train_seconds"], "predict_setting": ["latency_ms_median", "merged_latency_ms_median"]}
    unlike = [name for name in times if name in table and table[name].iloc[list(numbers)].nunique() > 1]
    return table.drop(columns=[column for name in unlike for column in times[name]], errors="ignore")


def _say_cost(table: pd.DataFrame, number: int) -> str:
    """What a row took to train and takes to use, as far as that was measured; empty where nothing was."""

    def read(column: str) -> float:
        return float(table[column].iloc[number]) if column in table else math.nan

    share, seconds, files = read("trainable_percent"), read("train_seconds"), read("predict_disk_mb")
    once = read("cache_seconds")
    parts = []
    if not math.isnan(share):
        parts.append(f"trains {share:.3g} % of the parameters")
    if not math.isnan(seconds):
        parts.append(f"took {_say_time(seconds + (0.0 if math.isnan(once) else once))} to train")
    if latency := describe_latency(table, number):
        parts.append(f"answers one text in {latency}")
    if not math.isnan(files):
        parts.append(f"needs {files:,.0f} MB of files" if files >= 1 else "needs less than 1 MB of files")
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _say_time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
