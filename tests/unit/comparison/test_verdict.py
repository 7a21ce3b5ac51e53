from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.comparison.recorded import RecordedPredictions
from pipeline.comparison.remarks import describe_statistics
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import PairTest, RowStatistics, Statistics, compute_statistics
from pipeline.comparison.table import build_table, label_rows
from pipeline.comparison.verdict import reach_verdict
from pipeline.evaluation.uncertainty import Interval
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
Record = Callable[..., RecordedPredictions]


def test_names_with_commas_are_kept_apart_in_the_verdict(make_run: MakeRun, record: Record) -> None:
    runs = [make_run("full", params={"compute_dtype": dtype}) for dtype in ("float32", "bfloat16")]
    runs += [make_run("lora"), make_run("bitfit")]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9, 0.9, 0.8, 0.95]))
    assert statistics.known[0] == label_rows(table).index("bitfit")
    rank = reach_verdict(statistics, table).sentences[0]
    assert any(f"{first}; {second} and lora" in rank for first, second in permutations(["full, fp32", "full, bf16"]))


def test_a_seed_without_predictions_is_marked_where_scores_are_of_the_others(make_run: MakeRun, record: Record) -> None:
    runs = [make_run("full", 0.8, params={"seed": seed}) for seed in "123"] + [make_run("lora", 0.6)]
    recorded = record([*runs[:2], runs[3]], [0.9, 0.9, 0.6])
    table = build_table(runs)
    statistics = compute_statistics(table, runs, replace(recorded, missing={runs[2].run_id: "gone"}))
    said = list(describe_statistics(table, Selection(tuple(runs), ()), statistics))
    assert ", over 2 of 3 seeds)" in said[0]
    assert (
        "full: the table's scores are means over 3 seeds; interval, group, tests and verdict are of the 2 whose predictions "
        "could be read."
    ) in said
    assert not [line for line in said if line.startswith("lora: the table")]


# Verdicts over any outcome of the tests, possible or not.
@st.composite
def outcomes(draw: st.DrawFn) -> Statistics:
    size = draw(st.integers(0, 6))
    scores = [draw(st.none() | st.floats(0.1, 0.9)) for _ in range(size)]
    rows = tuple(
        RowStatistics(
            f"row{n}",
            draw(st.integers(1, 5)) if score is not None else 0,
            draw(st.integers(0, 2)) if score is not None else 1,
            None if score is None else Interval(score, score - 0.05, score + 0.05),
        )
        for n, score in enumerate(scores)
    )
    pairs = []
    for first in range(size):
        for second in range(first + 1, size):
            if scores[first] is not None and scores[second] is not None:
                p = draw(st.sampled_from([0.001, 0.049, 0.05, 0.5]))
                sign = draw(st.sampled_from([1, 1, 1, -1]))
                gap = Interval(*(sign * (scores[first] - scores[second]) + x for x in (0, -0.01, 0.01)))
                pairs.append(PairTest(first, second, gap, gap, p, p, p, p, 0.1, 0.01, 1))
    return Statistics(rows, tuple(pairs), 100, 100, {})


@settings(max_examples=400, deadline=None)
@given(outcomes(), st.booleans(), st.integers(0, 2))
def test_a_verdict_never_claims_what_the_tests_do_not_show(statistics: Statistics, shares: bool, left_out: int) -> None:
    size = len(statistics.rows)
    table = pd.DataFrame({"tuned": ["untuned"] * size})
    if shares:
        table["trainable_percent"] = np.linspace(1, 100, size)
    verdict = reach_verdict(statistics, table, left_out)
    rank = verdict.sentences[0]
    assert len(verdict.sentences) == 3
    assert all(sentence.endswith(".") for sentence in verdict.sentences)
    known = {number for number, row in enumerate(statistics.rows) if row.f1_macro}
    said = [*verdict.ahead, *verdict.tied, *verdict.behind]
    assert sorted([*said, *([] if verdict.top is None else [verdict.top])]) == sorted(known)
    for number in verdict.behind:
        assert statistics.pair(verdict.top, number).better == verdict.top
    for number in verdict.tied:
        assert not statistics.pair(verdict.top, number).different
    if not verdict.behind:
        assert "behind" not in rank
        assert "is ahead" not in rank
    if not verdict.ahead:
        assert "better" not in rank
    if verdict.tied:
        assert "ahead of all" not in rank
    if any(row.seeds == 1 for row in statistics.rows):
        assert "there is one seed" in verdict.sentences[2]
    if len(known) < size:
        assert "without predictions" in verdict.sentences[2]
