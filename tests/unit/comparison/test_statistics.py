from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.comparison.hardest import hardest_examples
from pipeline.comparison.pareto import COSTS, find_points, tabulate_points
from pipeline.comparison.pareto_plot import draw_pareto
from pipeline.comparison.recorded import RecordedPredictions, read_predictions
from pipeline.comparison.remarks import describe_statistics
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import (
    PairTest,
    RowStatistics,
    Statistics,
    add_statistics,
    compute_statistics,
    tabulate_pairs,
)
from pipeline.comparison.table import build_table, label_rows, render_table
from pipeline.comparison.verdict import reach_verdict
from pipeline.evaluation.uncertainty import Interval
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def record(runs: Sequence[Run], accuracies: Sequence[float], texts: int = 1000, seed: int = 0) -> RecordedPredictions:
    """Predictions of two balanced classes where each run is right with this chance, independently."""
    generator = np.random.default_rng(seed)
    gold = np.arange(texts) % 2
    predicted = {
        run.run_id: np.where(generator.random(texts) < accuracy, gold, 1 - gold)
        for run, accuracy in zip(runs, accuracies, strict=True)
    }
    confidence = {run_id: np.full(texts, 0.9) for run_id in predicted}
    return RecordedPredictions([f"text {number}" for number in range(texts)], gold, ["bad", "good"], predicted, confidence)


def test_clear_differences_are_found_and_small_ones_share_a_letter(make_run: MakeRun) -> None:
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


def test_seeds_are_paired_by_their_value_and_few_discordant_texts_show_nothing(make_run: MakeRun) -> None:
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
    assert close.f1_macro.low * close.f1_macro.high > 0, "the interval leaves 0 out, but McNemar's p decides"
    pairs = tabulate_pairs(statistics).set_index(["first", "second"])["decided_by"]
    assert set(pairs) == {"McNemar", "paired bootstrap"}
    assert close.discordance == pytest.approx(0.006)


def test_a_run_without_predictions_is_named_and_has_no_letter(make_run: MakeRun) -> None:
    runs = [make_run("full"), make_run("lora")]
    recorded = replace(record(runs[:1], [0.8]), missing={runs[1].run_id: "gone"})
    table = build_table(runs)
    statistics = compute_statistics(table, runs, recorded)
    lora = next(row for row in statistics.rows if row.name == "lora")
    assert (lora.group, lora.f1_macro, lora.missing) == ("", None, 1)
    assert "nothing is said of lora" in reach_verdict(statistics, table).sentences[2]
    nothing = compute_statistics(table, runs, RecordedPredictions((), np.empty(0, np.int64), [], {}, {}))
    assert add_statistics(table, nothing) is table
    assert reach_verdict(nothing, table).top is None


def test_names_with_commas_are_kept_apart_in_the_verdict(make_run: MakeRun) -> None:
    runs = [make_run("full", params={"compute_dtype": dtype}) for dtype in ("float32", "bfloat16")]
    runs += [make_run("lora"), make_run("bitfit")]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9, 0.9, 0.8, 0.95]))
    assert statistics.known[0] == label_rows(table).index("bitfit")
    rank = reach_verdict(statistics, table).sentences[0]
    assert any(f"{first}; {second} and lora" in rank for first, second in permutations(["full, fp32", "full, bf16"]))


def test_pairs_that_predict_the_same_do_not_announce_that_any_difference_shows(make_run: MakeRun) -> None:
    runs = [make_run(name, params={"seed": seed}) for name in ("bitfit", "ia3", "full") for seed in "123"]
    recorded = record(runs, [0.9] * 9)
    one_class = {run.run_id: np.zeros(1000, np.int64) for run in runs[:6]}
    some = replace(recorded, predicted={**recorded.predicted, **one_class})
    table = build_table(runs)
    statistics = compute_statistics(table, runs, some)
    gaps = sorted(pair.smallest_gap for pair in statistics.pairs)
    assert gaps[0] == pytest.approx(0, abs=1e-9)
    assert statistics.smallest_gap == pytest.approx(np.median(gaps[1:]))
    assert "a difference in macro F1 of" in reach_verdict(statistics, table).sentences[2]
    table = build_table(runs[:6])
    statistics = compute_statistics(table, runs[:6], replace(some, predicted=one_class))
    assert statistics.smallest_gap is None
    limits = reach_verdict(statistics, table).sentences[2]
    assert "1,000 test texts show a difference in accuracy of 2.0 points or more" in limits
    assert "if one text in twenty is judged differently" in limits
    hopeless = replace(statistics, pairs=tuple(replace(pair, smallest_gap=1.5) for pair in statistics.pairs))
    assert "cannot be relied on to show any difference" in reach_verdict(hopeless, table).sentences[2]


def test_pairs_of_rows_that_are_not_ranked_name_no_better_one(make_run: MakeRun) -> None:
    runs = [make_run("full", 0.9), make_run("head_only", 0.6)]
    statistics = compute_statistics(build_table(runs), runs, record(runs, [0.9, 0.6]))
    assert tabulate_pairs(statistics)["better"].tolist() == ["full"]
    assert tabulate_pairs(statistics, ranked=False)["better"].tolist() == [""]


def test_a_seed_without_predictions_is_marked_where_scores_are_of_the_others(make_run: MakeRun) -> None:
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


def test_rows_are_told_apart_by_arguments_then_rate_then_number() -> None:
    table = pd.DataFrame(
        {
            "strategy": ["full", "lora", "lora", "lora", "lora"],
            "changed_arguments": ["", "r=4", "r=8", "r=8", "r=8"],
            "learning_rate": ["1", "1", "2", "3", "3"],
        }
    )
    assert label_rows(table) == ["full", "lora (r=4)", "lora (r=8) at 2", "lora (r=8) at 3 #1", "lora (r=8) at 3 #2"]


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


def test_a_row_that_predicts_one_class_is_said_to_have_learned_nothing(make_run: MakeRun) -> None:
    runs = [make_run(name, metrics=costs(share, 1), params={"seed": seed}) for name, share in SHARES.items() for seed in "12"]
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
        "bitfit predicts one class for every text with 2 of its 2 seeds: it has not learned. Another learning rate may help."
        in said
    )
    assert any(line.startswith("lora predicts one class for every text with 1 of its 2 seeds") for line in said)
    assert "bitfit trains the smallest share" not in " ".join(said)


def test_a_model_that_is_right_on_a_single_class_has_not_failed_to_learn(make_run: MakeRun) -> None:
    runs = [make_run("full")]
    gold = np.zeros(20, np.int64)
    said = {runs[0].run_id: gold}
    recorded = RecordedPredictions(["text"] * 20, gold, ["a", "b"], said, {runs[0].run_id: np.full(20, 0.9)})
    assert not compute_statistics(build_table(runs), runs, recorded).rows[0].constant


SHARES = {"full": 100.0, "bitfit": 0.1, "lora": 1.0}


def costs(share: float, seconds: float) -> dict[str, float]:
    return {
        "model/trainable_percent": share,
        "cost/train_seconds": seconds,
        "cost/cache_seconds": 5,
        "cost/peak_rss_mb": 10,
        "cost/artifact_mb": 2,
    }


def test_a_cost_that_all_seeds_share_has_no_spread(make_run: MakeRun) -> None:
    assert sum([0.1] * 3) / 3 > 0.1
    runs = [make_run("lora", metrics=costs(0.1, 0.1), params={"seed": seed}) for seed in "123"]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9] * 3))
    points = find_points(table, runs, statistics)
    [shared] = next(mine for cost, mine in points.items() if cost.name == "trainable_percent")
    assert shared.cost.low == shared.cost.value == shared.cost.high == 0.1
    draw_pareto(points, statistics)


def test_names_of_a_crowd_do_not_cover_each_other(make_run: MakeRun) -> None:
    accuracies = [0.9, 0.9, 0.895, 0.895, 0.89, 0.89, 0.885, 0.885]
    runs = [
        make_run(name, metrics=costs(1 + number % 2, 10 + number % 2))
        for number, name in enumerate(["discriminative", "full", "gradual", "lora", "dora", "rslora", "qlora", "freeze_bottom"])
    ]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, accuracies))
    points = find_points(table, runs, statistics)
    figure, again = (draw_pareto(points, statistics) for _ in range(2))
    for axes, same in zip(figure.axes, again.axes, strict=True):
        frames = [text.get_window_extent() for text in axes.texts]
        assert len(frames) == len(runs)
        assert not [(one, other) for one, other in combinations(frames, 2) if one.overlaps(other)]
        assert all(axes.bbox.x0 <= frame.x0 and frame.x1 <= axes.bbox.x1 for frame in frames)
        assert [text.get_position() for text in axes.texts] == [text.get_position() for text in same.texts]


@pytest.mark.parametrize("ranked", [True, False])
def test_of_very_many_rows_those_on_the_front_are_named(make_run: MakeRun, ranked: bool) -> None:
    runs = [make_run(f"strategy_{number}", metrics=costs(1 + number, 10)) for number in range(41)]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.8] * 41))
    points = find_points(table, runs, statistics, ranked)
    axes = draw_pareto(points, statistics).axes[0]
    shares = next(mine for cost, mine in points.items() if cost.name == "trainable_percent")
    front = [statistics.rows[point.row].name for point in shares if point.on_front]
    assert [text.get_text() for text in axes.texts] == front
    assert bool(front) is ranked


def test_only_a_shown_difference_dominates_and_machines_are_not_mixed(make_run: MakeRun) -> None:
    here, there = {"tags": {"hardware": "here"}}, {"tags": {"hardware": "there"}}
    runs = [
        make_run("lora", 0.9, metrics=costs(1, 10), **here),
        make_run("full", 0.89, metrics=costs(100, 20), **here),
        make_run("prompt", 0.6, metrics=costs(2, 30), **here),
        make_run("ia3", 0.59, metrics=costs(3, 99), **there),
    ]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9, 0.88, 0.6, 0.6]))
    points = find_points(table, runs, statistics)
    assert [cost.name for cost in points] == ["trainable_percent", "peak_rss_mb", "seconds", "artifact_mb"]
    by_name = {cost.name: {statistics.rows[point.row].name: point for point in mine} for cost, mine in points.items()}
    lora = next(number for number, row in enumerate(statistics.rows) if row.name == "lora")
    assert by_name["trainable_percent"]["full"].dominated_by == (), "cheaper and higher, but not shown to be better"
    assert not by_name["trainable_percent"]["full"].on_front
    assert by_name["trainable_percent"]["ia3"].dominated_by == (lora,)
    assert by_name["seconds"]["ia3"].dominated_by == (), "its time is that of another machine"
    assert by_name["seconds"]["ia3"].on_front
    assert lora in by_name["seconds"]["prompt"].dominated_by
    assert by_name["seconds"]["lora"].cost.value == 15, "what frozen layers cost once is part of the time"
    assert len(tabulate_points(points, statistics)) == 16
    assert len([axes for axes in draw_pareto(points, statistics).axes if axes.axison]) == 4
    assert len(COSTS) == 5


def test_the_hardest_texts_are_those_that_most_strategies_get_wrong(make_run: MakeRun) -> None:
    runs = [make_run("full"), make_run("lora", params={"seed": "1"}), make_run("lora", params={"seed": "2"})]
    gold = np.array([0, 0, 1, 1])
    predicted = dict(zip((run.run_id for run in runs), np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 1, 0]]), strict=True))
    confidence = {run.run_id: np.full(4, 0.6 + number / 10) for number, run in enumerate(runs)}
    recorded = RecordedPredictions(list("wxyz"), gold, ["bad", "good"], predicted, confidence)
    table = hardest_examples(recorded, {"full": [runs[0].run_id], "lora": [runs[1].run_id, runs[2].run_id]})
    assert table["sentence"].tolist() == ["w", "x", "z"]
    assert table["wrong_share"].tolist() == [1.0, 0.5, 0.25]
    assert table["confidence"].tolist() == pytest.approx([(0.6 + 0.75) / 2, 0.6, 0.8])
    assert table["usual_mistake"].tolist() == ["good", "good", "bad"]
    assert hardest_examples(RecordedPredictions((), np.empty(0, np.int64), [], {}, {})).empty


def test_predictions_come_back_as_they_were_written() -> None:
    tracker = MemoryTracker()
    ids = []
    contents = [
        'sentence,gold,pred,score_01,score_1\n"a, ""b""\r\nc",01,1,0.25,0.75\nNA,1,1,0.1,0.9\n',
        'sentence,gold,pred,score_01,score_1\n"a, ""b""\r\nc",01,01,0.5,0.5\nNA,1,1,0.3,0.7\n',
        "sentence,gold,pred,score_01,score_1\nother,1,1,0.5,0.5\nNA,1,1,0.3,0.7\n",
        None,
    ]
    for content in contents:
        logger = tracker.start("run")
        ids.append(logger.run_id)
        if content:
            logger.log_text(content, "predictions.csv")
            logger.log_text("class,precision\n01,1\n1,1\nNA,0\n", "per_class.csv")
    found = read_predictions([tracker.get(run_id) for run_id in ids], tracker)
    assert found.run_ids == ids[:2]
    assert found.texts == ['a, "b"\r\nc', "NA"]
    assert found.classes == ["01", "1", "NA"]
    assert found.gold.tolist() == [0, 1]
    assert [values.tolist() for values in found.predicted.values()] == [[1, 1], [0, 1]]
    assert found.confidence[ids[0]].tolist() == [0.75, 0.9]
    assert "holds other test texts" in found.missing[ids[2]]
    assert "no artifact" in found.missing[ids[3]]


def test_scores_are_no_classes_and_a_cosine_is_no_probability() -> None:
    tracker = MemoryTracker()
    contents = {
        "siamese": "sentence,sentence_pair,gold,pred,score\na,b,same,same,0.91\nc,d,other,same,0.8\n",
        "cross": "sentence,sentence_pair,gold,pred,score_other,score_same\na,b,same,same,0.1,0.9\nc,d,other,other,0.7,0.3\n",
        "scores": "sentence,sentence_pair,gold,pred,score\na,b,1.5,1.2,0.3\nc,d,0.5,0.1,0.02\n",
    }
    ids = {}
    for name, content in contents.items():
        logger = tracker.start(name)
        logger.log_text(content, "predictions.csv")
        logger.log_metrics({"test/spearman": 0.5} if name == "scores" else {"test/f1_macro": 0.5})
        ids[name] = logger.run_id
    found = read_predictions([tracker.get(run_id) for run_id in ids.values()], tracker)
    assert found.run_ids == [ids["siamese"], ids["cross"]]
    assert not found.missing
    assert found.texts == [("a", "b"), ("c", "d")]
    assert np.isnan(found.confidence[ids["siamese"]]).all()
    assert found.confidence[ids["cross"]].tolist() == [0.9, 0.7]
    hardest = hardest_examples(found)
    assert hardest[["sentence", "sentence_pair", "gold", "usual_mistake"]].to_numpy().tolist() == [["c", "d", "other", "same"]]


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
    assert "Intervals, tests and groups are of classes" in said[0]


def test_rows_of_one_strategy_are_told_apart_by_their_objective(make_run: MakeRun) -> None:
    runs = [make_run("full", 0.9), make_run("full", 0.8, params={"objective": "siamese"})]
    assert label_rows(build_table(runs)) == ["full, classification", "full, siamese"]


def test_rows_by_other_numbers_of_processes_are_told_apart(make_run: MakeRun) -> None:
    table = build_table([make_run("full"), make_run("full", tags={"num_processes": "2"}), make_run("lora")])
    assert sorted(label_rows(table)) == ["full by 1 process(es)", "full by 2 process(es)", "lora"]
    assert "processes" in render_table(table)
    assert "processes" not in build_table([make_run("full")])


def test_siamese_rows_are_told_apart_by_their_pooling(make_run: MakeRun) -> None:
    poolings = ("mean", "cls")
    runs = [make_run("full", params={"objective": "siamese", "pooling": pooling}) for pooling in poolings]
    runs.append(make_run("lora", params={"objective": "classification", "pooling": "mean"}))
    table = build_table(runs)
    assert sorted(label_rows(table)) == ["full, cls", "full, mean", "lora"]
    assert sorted(table["pooling"]) == ["", "cls", "mean"], "to a classifier the option says nothing"
    assert "pooling" in render_table(table)
    assert "pooling" not in build_table(runs[2:])
