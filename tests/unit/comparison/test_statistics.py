from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.comparison.conclusions.caveats import describe_statistics
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.exported_tables import tabulate_pairs
from pipeline.comparison.pareto import find_points
from pipeline.comparison.predictions import RecordedPredictions, read_predictions
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import add_statistics, build_table, render_table
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
Record = Callable[..., RecordedPredictions]


def test_clear_differences_are_found_and_small_ones_share_a_letter(make_run: MakeRun, record: Record) -> None:
    runs = [make_run("full", 0.9), make_run("lora", 0.89), make_run("head_only", 0.6)]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9, 0.9, 0.6]))
    assert [row.group for row in statistics.rows] == ["a", "a", "b"]
    assert statistics.pair(2, 0).better == 0
    assert statistics.pair(0, 1).better is None
    verdict = reach_verdict(statistics, table)
    assert (len(verdict.tied), verdict.behind) == (1, (2,))
    assert "head_only is behind" in verdict.sentences[0]
    assert "one seed" in verdict.sentences[2]
    shown = add_statistics(table, statistics)
    assert {"f1_macro_low", "f1_macro_high", "accuracy_low", "accuracy_high", "group"} <= set(shown)
    text = render_table(shown)
    assert "95 % interval" in text
    assert f"{shown['f1_macro_low'][0]:.3f} to {shown['f1_macro_high'][0]:.3f}" in text
    pairs = tabulate_pairs(statistics)
    assert len(pairs) == 3
    assert pairs["different"].tolist() == [False, True, True]
    assert (pairs["p_holm"] >= pairs["p_value"]).all()


def test_a_run_without_predictions_is_named_and_has_no_letter(make_run: MakeRun, record: Record) -> None:
    runs = [make_run("full"), make_run("lora")]
    recorded = replace(record(runs[:1], [0.8]), missing={runs[1].run_id: "gone"})
    table = build_table(runs)
    statistics = compute_statistics(table, runs, recorded)
    lora = next(row for row in statistics.rows if row.name == "lora")
    assert (lora.group, lora.score, lora.missing) == ("", None, 1)
    assert "nothing is said of lora" in reach_verdict(statistics, table).sentences[2]
    nothing = compute_statistics(table, runs, RecordedPredictions((), np.empty(0, np.int64), [], {}, {}))
    assert add_statistics(table, nothing) is table
    assert reach_verdict(nothing, table).top is None


def test_a_row_that_predicts_one_class_is_said_to_have_learned_nothing(make_run: MakeRun) -> None:
    shares = {"full": 100.0, "bitfit": 0.1, "lora": 1.0}
    runs = [
        make_run(name, metrics={"model/trainable_percent": share}, params={"seed": seed})
        for name, share in shares.items()
        for seed in "12"
    ]
    gold = np.arange(100) % 2
    predicted = {run.run_id: gold.copy() for run in runs}
    for run in runs:
        predicted[run.run_id][: 45 if run.tags["strategy"] == "full" else 50] = 0
        if run.tags["strategy"] == "bitfit":
            predicted[run.run_id][:] = 0
    predicted[runs[-1].run_id][:] = 1  # one of two seeds of lora
    confidence = {run.run_id: np.full(100, 0.9) for run in runs}
    table = build_table(runs)
    statistics = compute_statistics(table, runs, RecordedPredictions(["text"] * 100, gold, ["a", "b"], predicted, confidence))
    rows = {row.name: row for row in statistics.rows}
    assert {name: (row.constant, row.learned_nothing) for name, row in rows.items()} == {
        "full": (0, False),
        "bitfit": (2, True),
        "lora": (1, False),
    }
    said = list(describe_statistics(table, Selection(tuple(runs), ()), statistics))
    assert (
        "bitfit did not learn with any of its 2 seeds: it predicts one class for every text. Another learning rate may help."
        in said
    )
    assert any(
        line.startswith("1 of 2 seeds of lora did not learn: with 1 of its 2 seeds it predicts one class") for line in said
    )
    assert "bitfit trains the smallest share" not in " ".join(said)
    for run in runs[2:4]:
        run.metrics["data/unknown_tokens_percent"] = 93.0
    said = list(describe_statistics(table, Selection(tuple(runs), ()), statistics))
    assert any(
        "predicts one class for every text. Most of what it reads is unknown to its tokenizer, which no learning rate" in line
        for line in said
    )
    assert not any("bitfit" in line and "Another learning rate" in line for line in said)


def test_a_model_that_is_right_on_a_single_class_has_not_failed_to_learn(make_run: MakeRun) -> None:
    runs = [make_run("full")]
    gold = np.zeros(20, np.int64)
    said = {runs[0].run_id: gold}
    recorded = RecordedPredictions(["text"] * 20, gold, ["a", "b"], said, {runs[0].run_id: np.full(20, 0.9)})
    assert not compute_statistics(build_table(runs), runs, recorded).rows[0].constant


def test_of_scores_there_is_a_table_without_intervals_and_a_word_about_it(make_run: MakeRun) -> None:
    runs = []
    for name, value in (("full", 0.8), ("lora", 0.9)):
        measured = {"test/spearman": value, "test/pearson": value, "test/examples": 100.0}
        runs.append(make_run(name, None, metrics=measured))
    tracker = MemoryTracker()
    table = build_table(runs)
    assert table["strategy"].tolist() == ["lora", "full"]
    assert {"spearman", "spearman_std", "spearman_min"} <= set(table)
    assert not {"f1_macro", "f1_macro_std", "f1_macro_min"} & set(table)
    statistics = compute_statistics(table, runs, read_predictions(runs, tracker))
    assert not statistics.known
    assert not statistics.missing
    assert add_statistics(table, statistics) is table
    assert not find_points(table, runs, statistics)
    said = list(describe_statistics(table, Selection(tuple(runs), ()), statistics))
    assert len(said) == 1
    assert said[0].startswith("Tests and groups are of classes")
