"""Random studies for properties of a comparison: few or many texts, rows that are equal, constant or without predictions."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from pipeline.comparison.conclusions.caveats import describe_statistics, find_verdict
from pipeline.comparison.conclusions.verdict import Verdict
from pipeline.comparison.exported_tables import tabulate_pairs
from pipeline.comparison.pareto import find_points, tabulate_points
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.selection import ExcludedRun, Selection
from pipeline.comparison.statistics import compute_statistics, without_groups
from pipeline.comparison.table import add_statistics, build_table
from pipeline.evaluation.metric import Answers, Metric, measure
from pipeline.tracking.runs import Run

NAMES = ("full", "lora", "ia3", "bitfit", "prefix", "partial", "dora", "vera")
SHARES = (None, 100.0, 1.469, 1.4692, 1.471, 0.115)


@dataclass(frozen=True)
class Study:
    """A comparison as its readers get it."""

    verdict: Verdict
    said: Sequence[str]
    """The verdict's sentences and what is said of the statistics beside."""
    summary: pd.DataFrame
    """`model_summary.csv`, by row."""
    pairs: pd.DataFrame
    """`comparisons.csv`."""
    pareto: pd.DataFrame
    """`pareto.csv`."""
    majority: float
    planned: str
    metric: Metric
    """By which rows are ranked."""

    def better(self, one: str, other: str) -> str | None:
        """Which of two rows the pairs call better; empty if neither, None without a pair."""
        pair = self.pair(one, other)
        return None if pair is None else pair["better"]

    def pair(self, one: str, other: str) -> pd.Series | None:
        """The line of two rows, with `lead`, `lead_low` and `lead_high`: by how much `one` is the better by what ranks."""
        for first, second, sign in ((one, other, 1), (other, one, -1)):
            found = self.pairs[(self.pairs["first"] == first) & (self.pairs["second"] == second)]
            if len(found):
                line, turn = found.iloc[0].copy(), sign * self.metric.goodness(1.0)
                gap, *bounds = (turn * line[f"{self.metric.name}_{what}"] for what in ("difference", "low", "high"))
                line["lead"], line["lead_low"], line["lead_high"] = gap, min(bounds), max(bounds)
                return line
        return None


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """One to seven rows on few or many texts: equal rows, nearly equal ones, constant ones, rows without some predictions."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    texts = draw(st.sampled_from([20, 60, 200, 600]))
    classes = draw(st.sampled_from([2, 2, 3]))
    skew = draw(st.sampled_from([None, 0.8]))
    gold = np.arange(texts) % classes
    if skew:
        gold = np.where(generator.random(texts) < skew, 0, gold)
    kinds = st.sampled_from(["right", "right", "constant", "equal", "nearly equal", "unsteady"])
    ranking_metric = draw(st.sampled_from(["f1_macro", "f1_macro", "mcc", "nll"]))
    runs: list[Run] = []
    predicted: dict[str, np.ndarray] = {}
    probabilities: dict[str, np.ndarray] = {}
    without: dict[str, str] = {}
    first: np.ndarray | None = None
    for name in NAMES[: draw(st.integers(1, 7))]:
        kind, share = draw(kinds), draw(st.sampled_from(SHARES))
        accuracy = draw(st.sampled_from([0.15, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97]))
        read = draw(st.sampled_from(["all", "all", "all", "not the last", "none"]))
        seeds = draw(st.integers(1, 4))
        for seed in range(seeds):
            guessed = generator.integers(0, classes, texts)
            said = np.where(generator.random(texts) < accuracy, gold, guessed)
            if kind == "constant" or (kind == "unsteady" and seed % 2):
                said = np.full(texts, draw(st.integers(0, classes - 1)))
            elif kind in ("equal", "nearly equal") and first is not None:
                said = first.copy()
                if kind == "nearly equal":
                    turned = generator.choice(
                        np.flatnonzero(said == gold), draw(st.integers(1, 8)) % (1 + (said == gold).sum())
                    )
                    said[turned] = (gold[turned] + 1) % classes
            first = said if first is None else first
            sure = np.full((texts, classes), 0.1)
            sure[np.arange(texts), said] += generator.random(texts)
            sure /= sure.sum(axis=1, keepdims=True)
            answers = Answers(gold, said, classes, lambda sure=sure: sure)
            scores = {f"test/{metric}": value for metric, value in measure(answers).items()}
            costs = {"cost/artifact_mb": 3.0} | ({} if share is None else {"model/trainable_percent": share})
            run = make_run(name, seed, len(runs), scores | costs)
            runs.append(run)
            if read == "none" or (read == "not the last" and seed == seeds - 1):
                without[run.run_id] = "gone"
            else:
                predicted[run.run_id] = said
                probabilities[run.run_id] = sure
    confidence = {run_id: np.full(texts, 0.9) for run_id in predicted}
    known = bool(predicted)
    recorded = RecordedPredictions(
        [f"text {number}" for number in range(texts)] if known else (),
        gold if known else np.empty(0, np.int64),
        [f"class {number}" for number in range(classes)] if known else [],
        predicted,
        confidence,
        without,
        probabilities,
    )
    ranked = draw(st.sampled_from([True, True, True, False]))
    planned = draw(st.sampled_from(["", "oft (5 seeds)"]))
    omitted = tuple(ExcludedRun(run, "status FAILED") for run in runs[: draw(st.integers(0, 1))])
    selection = Selection(tuple(runs), omitted, ranked=ranked, missing=(planned,) if planned else ())
    table = build_table(runs, ranked=ranked, ranking_metric=ranking_metric)
    statistics = compute_statistics(table, runs, recorded)
    statistics = statistics if ranked else without_groups(statistics)
    table = add_statistics(table, statistics)
    points = find_points(table, runs, statistics, ranked)
    summary = as_csv(table.assign(row=[row.name for row in statistics.rows])).set_index("row")
    return Study(
        find_verdict(table, selection, statistics),
        list(describe_statistics(table, selection, statistics)),
        summary,
        as_csv(tabulate_pairs(statistics, ranked)),
        as_csv(tabulate_points(points, statistics)) if points else pd.DataFrame(),
        float(np.bincount(gold).max() / texts),
        planned,
        statistics.metric,
    )


def make_run(name: str, seed: int, number: int, metrics: Mapping[str, float]) -> Run:
    tags = {"stage": "train", "strategy": name, "strategy_args": "{}", "data_fingerprint": "f", "settings_hash": name}
    params = {"seed": str(seed), "learning_rate": "1e-4"}
    return Run(f"run{number}", name, "FINISHED", number, None, {**tags, "config_hash": str(number)}, params, metrics)


def as_csv(table: pd.DataFrame) -> pd.DataFrame:
    """What a reader of the file finds; an empty cell of words is empty."""
    found = pd.read_csv(io.StringIO(table.to_csv(index=False))) if len(table.columns) else table
    words = [
        name for name in ("better", "group", "group_mark", "learned", "interval_overruled_by", "dominated_by") if name in found
    ]
    return found.assign(**{name: found[name].astype(object).fillna("") for name in words})
