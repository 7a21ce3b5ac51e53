from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.comparison.conclusions.caveats import describe_statistics
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.conclusions.wording import MCNEMAR
from pipeline.comparison.exported_tables import tabulate_pairs
from pipeline.comparison.pair_tests import BOOTSTRAP, PairTest
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.row_names import label_rows
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import (
    RowStatistics,
    Statistics,
    compute_statistics,
)
from pipeline.comparison.table import add_statistics, build_table, render_table
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
make_row = partial(RowStatistics, metric=F1)
make_pair = partial(PairTest, metric=F1)
make_statistics = partial(Statistics, metric=F1)
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


def two_rows(gap: Interval, p_boot: float, p_mcnemar: float, discordance: float) -> Statistics:
    rows = (
        make_row("full", 1, 0, {"f1_macro": Interval(0.8, 0.7, 0.9)}),
        make_row("lora", 1, 0, {"f1_macro": Interval(0.55, 0.4, 0.7)}),
    )
    decided_by = MCNEMAR if p_mcnemar > p_boot else BOOTSTRAP
    p = max(p_boot, p_mcnemar)
    pair = make_pair(0, 1, {"f1_macro": gap, "accuracy": gap}, p, p, p_mcnemar, p_mcnemar, discordance, 0.1, 1, decided_by)
    return make_statistics(rows, (pair,), 20, 100, {})


def test_where_mcnemar_decides_against_the_interval_verdict_table_and_remark_say_so() -> None:
    """One letter for two rows whose difference has the interval 0.133 to 0.383."""
    statistics = two_rows(Interval(0.258, 0.133, 0.383), 0.001, 0.0625, 0.25)
    table = pd.DataFrame({"strategy": ["full", "lora"], "trainable_percent": [100.0, 1.0]})
    verdict = reach_verdict(statistics, table)
    assert verdict.tied == (1,)
    assert verdict.sentences[0].endswith(
        "The 95 % interval of full's lead over lora, 25.8 points (13.3 to 38.3), leaves out 0, but where so few texts are "
        "judged differently (5 of 20) McNemar's exact test of accuracy decides, and no difference is shown."
    )
    [line] = tabulate_pairs(statistics).to_dict("records")
    assert (line["different"], line["decided_by"], line["interval_overruled_by"]) == (False, "McNemar", "McNemar")


def test_the_other_way_round_it_is_said_too() -> None:
    statistics = two_rows(Interval(0.05, -0.01, 0.11), 0.001, 0.002, 0.25)
    rank = reach_verdict(statistics, pd.DataFrame({"strategy": ["full", "lora"]})).sentences[0]
    assert "lora is behind, by 5.0 points (-1.0 to 11.0)." in rank
    assert "full's lead over lora, 5.0 points (-1.0 to 11.0), holds 0, but" in rank
    assert rank.endswith("decides, and a difference is shown.")


def test_letters_against_an_interval_are_marked_in_the_table(make_run: MakeRun) -> None:
    runs = [make_run("full"), make_run("lora"), make_run("ia3")]
    gold = np.arange(40) % 2
    few, many = gold.copy(), gold.copy()
    few[:5] ^= 1  # five texts: p is .0625 by McNemar's test
    many[:20] ^= 1
    predicted = dict(zip([run.run_id for run in runs], (gold, few, many), strict=True))
    confidence = {run_id: np.full(40, 0.9) for run_id in predicted}
    recorded = RecordedPredictions([str(number) for number in range(40)], gold, ["bad", "good"], predicted, confidence)
    table = build_table(runs)
    statistics = compute_statistics(table, runs, recorded)
    full, lora = ([row.name for row in statistics.rows].index(name) for name in ("full", "lora"))
    pair = statistics.pair(full, lora)
    assert pair is not None
    assert pair.lead.low * pair.lead.high > 0
    assert not pair.different
    shown = add_statistics(table, statistics)
    assert shown["group_mark"].tolist().count("*") == 2
    assert "a*" in render_table(shown)
    said = list(describe_statistics(table, Selection(tuple(runs), ()), statistics))
    assert any(line.startswith("* full and lora share a letter although") and "McNemar's exact test" in line for line in said)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([1.0, 1.0], "full and lora train the same share of the parameters, 1 %."),
        (
            [1.0, 1.0, 2.0],
            "Of full, lora and ia3, which may be the best, full and lora train the smallest share of the parameters",
        ),
        (
            [2.0, 1.0, 1.0],
            "lora and ia3 train the smallest share of the parameters, 1 % each instead of the 2 % of full; that no",
        ),
        (
            [1.471, 1.469],
            "lora trains the smallest share of the parameters, 1.469 % instead of the 1.471 % of full; that no loss",
        ),
        ([1.46901, 1.46902], "full and lora train the same share of the parameters, 1.47 %."),
        ([100.0, 1.469], "lora trains the smallest share of the parameters, 1.47 % instead of the 100 % of full; that no loss"),
        ([float("nan"), 1.0], "lora trains 1 % of the parameters; what share full trained is not recorded."),
        ([float("nan")] * 2, "What share of the parameters full and lora trained is not recorded."),
    ],
)
def test_of_equal_rows_none_trains_the_smallest_share(shares: list[float], said: str) -> None:
    scores = [Interval(0.9 - place / 100, 0.8, 0.95) for place in range(len(shares))]
    rows = tuple(
        make_row(name, 1, 0, {"f1_macro": score}) for name, score in zip(("full", "lora", "ia3"), scores, strict=False)
    )
    gap = Interval(0.01, -0.1, 0.1)
    pairs = [
        make_pair(one, other, {"f1_macro": gap, "accuracy": gap}, 0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 1)
        for one, other in combinations(range(len(rows)), 2)
    ]
    cost = reach_verdict(
        make_statistics(rows, tuple(pairs), 100, 100, {}), pd.DataFrame({"trainable_percent": shares})
    ).sentences[1]
    assert said in cost


def test_rows_that_are_printed_alike_share_the_highest_score() -> None:
    rows = tuple(
        make_row(name, 1, 0, {"f1_macro": Interval(0.80001 - place / 1e6, 0.7, 0.9)}) for place, name in enumerate("ab")
    )
    gap = Interval(1e-6, -0.1, 0.1)
    statistics = make_statistics(
        rows, (make_pair(0, 1, {"f1_macro": gap, "accuracy": gap}, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 1),), 100, 100, {}
    )
    rank = reach_verdict(statistics, pd.DataFrame({"f1_macro": [0.80001, 0.800009]})).sentences[0]
    assert rank == (
        "a and b share the highest score (macro F1 0.800, 95 % interval 0.700 to 0.900), and no difference between a and b "
        "was shown."
    )


def test_what_has_no_predictions_is_not_said_to_be_behind_or_absent() -> None:
    rows = (make_row("full", 1, 0, {"f1_macro": Interval(0.8, 0.7, 0.9)}), make_row("lora", 0, 1))
    table = pd.DataFrame({"strategy": ["full", "lora"], "f1_macro": [0.8, 0.95]})
    rank = reach_verdict(make_statistics(rows, (), 100, 100, {}), table).sentences[0]
    assert "is the only row with predictions; there is nothing to compare it with" in rank
    worse = make_row("ia3", 1, 0, {"f1_macro": Interval(0.5, 0.4, 0.6)})
    gap = Interval(0.3, 0.2, 0.4)
    pairs = (make_pair(0, 2, {"f1_macro": gap, "accuracy": gap}, 0.001, 0.001, 0.001, 0.001, 0.3, 0.1, 1),)
    table = pd.DataFrame({"strategy": ["full", "lora", "ia3"], "f1_macro": [0.8, 0.95, 0.5]})
    rank = reach_verdict(make_statistics((*rows, worse), pairs, 100, 100, {}), table).sentences[0]
    assert rank.startswith("full has the highest score by the predictions that could be read (macro F1 0.800")
    assert "all others" not in rank


# Verdicts over any outcome of the tests, possible or not.
learning = st.sampled_from(
    [
        {},
        {"judged": 2},
        {"judged": 2, "unlearned": ("x",)},
        {"judged": 2, "unlearned": ("x",), "set_apart": True},
        {"judged": 2, "unlearned": ("x", "y"), "set_apart": True},
    ]
)


@st.composite
def outcomes(draw: st.DrawFn) -> Statistics:
    size = draw(st.integers(0, 6))
    scores = [draw(st.none() | st.floats(0.1, 0.9)) for _ in range(size)]
    rows = tuple(
        make_row(
            f"row{n}",
            draw(st.integers(1, 5)) if score is not None else 0,
            draw(st.integers(0, 2)) if score is not None else 1,
            {} if score is None else dict.fromkeys(("f1_macro", "accuracy"), Interval(score, score - 0.05, score + 0.05)),
            **draw(learning if score is not None else st.just({})),
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
                pairs.append(make_pair(first, second, {"f1_macro": gap, "accuracy": gap}, p, p, p, p, 0.1, 0.01, 1))
    return make_statistics(rows, tuple(pairs), 100, 100, {})


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
    known = {number for number, row in enumerate(statistics.rows) if row.score}
    said = [*verdict.ahead, *verdict.tied, *verdict.behind, *verdict.unlearned]
    for number in verdict.unlearned:
        assert f"{statistics.rows[number].name} did not learn" in rank or "did not learn: the accuracy" in rank
        assert f"{statistics.rows[number].name}" not in verdict.sentences[1]
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
