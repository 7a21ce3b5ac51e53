from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.exported_tables import tabulate_pairs
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import build_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
Record = Callable[..., RecordedPredictions]


def test_seeds_are_paired_by_their_value_and_few_discordant_texts_show_nothing(make_run: MakeRun, record: Record) -> None:
    runs = [make_run(name, params={"seed": seed}) for name in ("full", "lora") for seed in "123"]
    runs += [make_run("bitfit", params={"seed": "3"}), make_run("ia3", params={"seed": "9"})]
    recorded = record(runs, [0.8] * 8)
    same = recorded.predicted[runs[0].run_id]
    few = same.copy()
    few[np.flatnonzero(same == recorded.gold)[:6]] ^= 1  # p would be .014 by the normal approximation, and is .031
    predicted = {**recorded.predicted, runs[6].run_id: same, runs[7].run_id: few}
    table = build_table(runs)
    statistics = compute_statistics(table, runs, replace(recorded, predicted=predicted))
    number = {row.name: place for place, row in enumerate(statistics.rows)}
    assert statistics.pair(number["full"], number["lora"]).paired_seeds == 3
    assert statistics.pair(number["full"], number["bitfit"]).paired_seeds == 1
    assert statistics.pair(number["full"], number["ia3"]).paired_seeds == 0
    close = statistics.pair(number["bitfit"], number["ia3"])
    assert close.p_value == pytest.approx(2 / 64)
    assert close.decided_by == "McNemar"
    assert close.lead.low * close.lead.high > 0, "the interval leaves 0 out, but McNemar's p decides"
    pairs = tabulate_pairs(statistics).set_index(["first", "second"])["decided_by"]
    assert set(pairs) == {"McNemar", "paired bootstrap"}
    assert close.discordance == pytest.approx(0.006)


def test_pairs_that_predict_the_same_do_not_announce_that_any_difference_shows(make_run: MakeRun, record: Record) -> None:
    runs = [make_run(name, params={"seed": seed}) for name in ("bitfit", "ia3", "full") for seed in "123"]
    recorded = record(runs, [0.9] * 9)
    one_class = {run.run_id: np.zeros(1000, np.int64) for run in runs[:6]}
    some = replace(recorded, predicted={**recorded.predicted, **one_class})
    table = build_table(runs)
    statistics = compute_statistics(table, runs, some)
    assert statistics.smallest_gap is None, "two of three rows did not learn"
    learned = replace(statistics, rows=tuple(replace(row, set_apart=False) for row in statistics.rows))
    gaps = sorted(pair.smallest_gap for pair in learned.pairs)
    assert gaps[0] == pytest.approx(0, abs=1e-9)
    assert learned.smallest_gap == pytest.approx(np.median(gaps[1:]))
    assert "a difference in macro F1 of" in reach_verdict(learned, table).sentences[2]
    table = build_table(runs[:6])
    statistics = compute_statistics(table, runs[:6], replace(some, predicted=one_class))
    assert statistics.smallest_gap is None
    limits = reach_verdict(statistics, table).sentences[2]
    assert "1,000 test texts show a difference in accuracy of 2.0 points or more" in limits
    assert "if one text in twenty is judged differently" in limits
    hopeless = replace(learned, pairs=tuple(replace(pair, smallest_gap=1.5) for pair in learned.pairs))
    assert "cannot be relied on to show any difference" in reach_verdict(hopeless, build_table(runs)).sentences[2]


def test_pairs_of_rows_that_are_not_ranked_name_no_better_one(make_run: MakeRun, record: Record) -> None:
    runs = [make_run("full", 0.9), make_run("head_only", 0.6)]
    statistics = compute_statistics(build_table(runs), runs, record(runs, [0.9, 0.6]))
    assert tabulate_pairs(statistics)["better"].tolist() == ["full"]
    assert tabulate_pairs(statistics, ranked=False)["better"].tolist() == [""]
