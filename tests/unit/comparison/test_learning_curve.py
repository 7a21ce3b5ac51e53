"""Rows of several numbers of labelled texts: compared within a size, and what is said over sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.comparison.conclusions.labels_needed import describe_forecast, describe_labels_needed, follow
from pipeline.comparison.exported_tables import tabulate_pairs
from pipeline.comparison.learning_curve.curve import Forecast, LearningCurve, compare_at_sizes, size_of
from pipeline.comparison.learning_curve.forecasts import forecast_all
from pipeline.comparison.learning_curve.picture import draw_learning_curve, render_curve
from pipeline.comparison.learning_curve.tables import tabulate_curve, tabulate_forecasts
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.selection import Selection
from pipeline.evaluation.metric import Metric
from pipeline.evaluation.metrics.likelihood import NLL
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.statistics.intervals import Interval

SIZES = (32, 128, 512, 2048)
Accuracies = Mapping[str, Sequence[float | None]]


@pytest.fixture
def make_curve(make_run: Any, record: Any) -> Any:
    """Makes a curve of rows that are right with a given chance at each size, and its runs."""

    def make(rows: Accuracies, sizes: Sequence[int] = SIZES, seeds: int = 4, texts: int = 1000) -> Any:
        runs, accuracies = [], []
        for name, by_size in rows.items():
            for size, accuracy in zip(sizes, by_size, strict=True):
                for seed in range(seeds if accuracy is not None else 0):
                    params = {"seed": str(seed), "train_size": str(size)} if size < 5000 else {"seed": str(seed)}
                    metrics = {
                        **{"data/train_examples": float(size), "data/rows_train": 9000.0, "data/validation_examples": 400.0},
                        "val/f1_macro": accuracy,
                    }
                    runs.append(make_run(name, accuracy, params=params, metrics=metrics))
                    accuracies.append(accuracy)
        recorded = record(runs, accuracies, texts)
        compared = compare_at_sizes(Selection(tuple(runs), ()), recorded, None)
        curve = LearningCurve(compared, metric=compared[-1].statistics.metric)
        return LearningCurve(compared, forecast_all(curve, runs, recorded), metric=curve.metric), runs

    return make


def test_a_row_overtakes_where_tests_show_it_first_worse_and_then_better(make_curve: Any) -> None:
    curve, _ = make_curve({"tfidf": [0.7, 0.75, 0.78, 0.8], "lora": [0.55, 0.6, 0.9, 0.93], "full": [0.55, 0.75, 0.75, 0.93]})
    course = follow(curve, "lora", "tfidf")
    assert course is not None
    assert (course.kind, course.below, course.above) == ("overtakes", 128, 512)
    said = list(describe_labels_needed(curve))
    assert "lora overtakes tfidf between 128 and 512 labelled texts." in said
    assert "full overtakes tfidf between 32 and 2,048 labelled texts." in said, "nothing was shown at the sizes in between"
    assert "At 2,048 no difference between lora, which has the best score, and full was shown." in said or (
        "At 2,048 no difference between full, which has the best score, and lora was shown." in said
    )
    assert said[-1] == "Measured at 32, 128, 512 and 2,048 labelled texts; nothing is known between them."


def test_what_was_never_worse_does_not_overtake(make_curve: Any) -> None:
    curve, _ = make_curve({"tfidf": [0.6, 0.7, 0.7, 0.7], "lora": [0.6, 0.7, 0.9, 0.9], "full": [0.9, 0.9, 0.9, 0.9]})
    said = list(describe_labels_needed(curve))
    assert "lora is shown to be better than tfidf from 512 labelled texts on, and not at 128." in said
    assert "full is better than tfidf at every size, from 32 labelled texts on." in said
    assert not any("overtakes tfidf" in sentence for sentence in said)
    assert follow(curve, "tfidf", "full").kind == "behind"  # type: ignore[union-attr]
    assert follow(curve, "tfidf", "ia3") is None


def test_nothing_overtakes(make_curve: Any) -> None:
    curve, _ = make_curve({"tfidf": [0.7, 0.8], "lora": [0.6, 0.8], "full": [0.6, 0.7]}, (128, 512))
    said = list(describe_labels_needed(curve))
    assert said[0] == "Nothing overtakes tfidf up to 512 labelled texts."
    assert "full is worse than tfidf at 512 labelled texts." in said


def test_what_is_better_at_some_sizes_and_not_at_the_largest_is_said(make_curve: Any) -> None:
    curve, _ = make_curve({"tfidf": [0.6, 0.7, 0.8], "lora": [0.6, 0.9, 0.8], "full": [0.9, 0.9, 0.7]}, (32, 128, 512))
    said = list(describe_labels_needed(curve))
    assert "lora is shown to be better than tfidf at 128; at 512 labelled texts no difference was shown." in said
    assert "full is shown to be better than tfidf at 32 and 128; at 512 labelled texts it is worse." in said
    assert not any(sentence.startswith("Nothing overtakes") for sentence in said)


def test_of_rows_without_a_result_at_the_largest_size_nothing_is_said(make_curve: Any) -> None:
    curve, _ = make_curve({"tfidf": [0.6, 0.7, 0.7], "lora": [0.9, 0.9, None], "full": [0.9, 0.9, 0.9]}, (32, 128, 512))
    said = list(describe_labels_needed(curve))
    assert "lora has no result at 512 labelled texts, so nothing is said of it." in said
    assert "full is better than tfidf at every size, from 32 labelled texts on." in said
    assert sum("lora" in sentence for sentence in said) == 1


def test_a_size_at_which_a_row_is_missing_is_not_claimed(make_curve: Any) -> None:
    curve, _ = make_curve({"tfidf": [0.6, 0.7, 0.7], "full": [0.9, None, 0.9], "lora": [0.6, 0.7, 0.7]}, (32, 128, 512))
    assert "full is better than tfidf at every size that has both, from 32 labelled texts on." in describe_labels_needed(curve)


def test_a_model_from_elsewhere_is_no_row_of_the_curve(make_curve: Any, make_run: Any, record: Any) -> None:
    curve, runs = make_curve({"tfidf": [0.6, 0.7], "lora": [0.6, 0.9]}, (32, 128))
    strange = make_run("external", 0.9, tags={"stage": "evaluate", "strategy": "external"}, params={})
    everything = [*runs, strange]
    sizes = compare_at_sizes(Selection(tuple(everything), ()), record(everything, [0.8] * len(everything), 1000), None)
    assert [size.label for size in sizes] == ["32", "128"]
    assert ["external" in set(size.table["strategy"]) for size in sizes] == [False, True], "in the table with most texts"
    assert set(LearningCurve(sizes, metric=curve.metric).names) == {"lora", "tfidf"}


def test_sizes_that_were_treated_differently_are_each_judged_by_itself(make_curve: Any, record: Any) -> None:
    curve, runs = make_curve({"tfidf": [0.6, 0.7], "lora": [0.6, 0.9]}, (32, 128))
    sizes = compare_at_sizes(Selection(tuple(runs), (), ranked=False), record(runs, [0.8] * len(runs), 1000), curve.metric.name)
    assert [size.selection.ranked for size in sizes] == [True, True]


@given(data=st.data())
def test_each_sentence_follows_from_the_pairs(data: st.DataObject) -> None:
    """The course of two rows, worked out by hand from `better` at each size."""
    from pipeline.comparison.conclusions import labels_needed

    outcomes = data.draw(st.lists(st.sampled_from(["a", "b", ""]), min_size=2, max_size=6))
    sizes = [16 * 2**place for place in range(len(outcomes))]
    fake = type("FakeCurve", (), {"sizes": [type("S", (), {"texts": texts, "number": None}) for texts in sizes]})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels_needed, "_better", lambda size, row, other: outcomes[sizes.index(size.texts)])
        course = follow(fake, "a", "b")
    assert course is not None
    if outcomes[-1] != "a":
        assert course.kind == ("behind" if outcomes[-1] == "b" else "open")
        assert course.once == tuple(texts for texts, outcome in zip(sizes, outcomes, strict=True) if outcome == "a")
        return
    first = max([place for place, outcome in enumerate(outcomes) if outcome != "a"], default=-1) + 1
    assert course.above == sizes[first]
    worse = [sizes[place] for place, outcome in enumerate(outcomes) if outcome == "b"]
    assert (course.kind == "overtakes") == bool(worse)
    if worse:
        assert course.below == max(worse)
    else:
        assert course.kind == ("from" if first else "always")


def test_rows_are_compared_within_a_size(make_curve: Any) -> None:
    curve, runs = make_curve({"tfidf": [0.6, 0.7], "lora": [0.6, 0.9]}, (128, 9000))
    assert [(size.label, size.texts) for size in curve.sizes] == [("128", 128), ("all", 9000)]
    assert [len(size.statistics.pairs) for size in curve.sizes] == [1, 1]
    assert {size_of(run) for run in runs} == {"128", "all"}
    for size in curve.sizes:
        assert set(tabulate_pairs(size.statistics)["first"]) <= {"tfidf", "lora"}
        assert sorted(size.table["strategy"]) == ["lora", "tfidf"]


def test_the_file_holds_both_scores_with_intervals(make_curve: Any) -> None:
    curve, runs = make_curve({"tfidf": [0.6, 0.7, 0.75, 0.8], "lora": [0.5, 0.7, 0.9, 0.93]})
    table = tabulate_curve(curve, runs)
    assert list(table["row"]) == ["lora"] * 4 + ["tfidf"] * 4
    assert list(table["train_texts"]) == [*SIZES, *SIZES]
    assert (table["seeds"] == 4).all()
    assert ((table["test_low"] <= table["test_score"] + 0.05) & (table["test_high"] >= table["test_score"] - 0.05)).all()
    assert (table["validation_low"] < table["validation_score"]).all()
    assert table["validation_score"].tolist()[:4] == [0.5, 0.7, 0.9, 0.93]
    by_hand = 1.96 * np.sqrt(0.93 * 0.07 / 400)
    assert table["validation_high"][3] - 0.93 == pytest.approx(by_hand, rel=1e-3), "seeds agree: texts alone vary"
    assert "lora" in render_curve(curve)
    assert draw_learning_curve(curve).axes


def test_a_forecast_is_checked_and_needs_four_sizes_that_learned(make_curve: Any) -> None:
    errors = [0.4 * 2.0 ** (-0.5 * place) + 0.05 for place in range(4)]
    curve, _ = make_curve({"lora": [1 - error for error in errors], "full": [0.5, 0.5, 0.7, 0.8]}, texts=4000)
    lora, full = sorted(curve.forecasts, key=lambda found: found.name, reverse=True)
    assert lora.size == 4096
    assert lora.score.low <= lora.score.value <= lora.score.high
    assert lora.checked_to == 512
    assert lora.error is not None
    assert abs(lora.error) < 0.06
    said = describe_forecast(lora, curve)
    assert said.startswith("lora: forecast, not measured: macro F1 0.")
    assert "Checked: from sizes up to 512 it says" in said
    assert full.score is None
    assert describe_forecast(full, curve) == (
        "full: no forecast: of 4 sizes, all its seeds learned, and have predictions, at 2; a law of three numbers needs 4."
    )
    table = tabulate_forecasts(curve).set_index("row")
    assert pd.isna(table.loc["full", "forecast"])
    assert table.loc["lora", "error"] == pytest.approx(lora.error)


def test_one_seed_is_said(make_curve: Any) -> None:
    curve, _ = make_curve({"tfidf": [0.6, 0.7], "lora": [0.6, 0.9]}, (128, 512), seeds=1)
    assert any("intervals and tests are over test texts alone" in sentence for sentence in describe_labels_needed(curve))


def test_a_forecast_is_said_in_the_decimals_of_its_metric() -> None:
    def say(metric: Metric, score: float, gain: Interval) -> str:
        forecast = Forecast("lora", 4096, Interval(score, score - 0.01, score + 0.01), gain)
        return describe_forecast(forecast, LearningCurve((), metric=metric))

    said = say(NLL, 0.412, Interval(-0.0144, -0.0312, 0.0021))
    assert "labelled texts, -0.014 (-0.031 to 0.002) from here" in said
    assert "labelled texts, 0.000 (-0.012 to 0.000) from here" in say(NLL, 0.412, Interval(-0.0001, -0.012, -0.0002))
    said = say(F1, 0.9, Interval(-0.0001, -0.0123, 0.0003))
    assert "labelled texts, 0.0 points (-1.2 to 0.0) from here" in said


def test_of_scores_the_reason_for_no_forecast_is_that_they_have_no_intervals(make_run: Any) -> None:
    runs = [
        make_run(name, None, params={"train_size": str(size)}, metrics={"test/spearman": 0.5, "test/pearson": 0.5})
        for name in ("lora", "full")
        for size in SIZES
    ]
    nothing = RecordedPredictions((), np.empty(0, np.int64), [], {}, {}, {run.run_id: "scores" for run in runs})
    sizes = compare_at_sizes(Selection(tuple(runs), ()), nothing, None)
    curve = LearningCurve(sizes, metric=sizes[-1].statistics.metric)
    said = [describe_forecast(forecast, curve) for forecast in forecast_all(curve, runs, nothing)]
    assert said == [f"{name}: no forecast: scores have no intervals, so no law is drawn." for name in curve.names]
    assert len(said) == 2


@pytest.mark.parametrize("typed", ["all", "none", ""])
def test_all_texts_are_one_size_however_that_was_typed(make_run: Any, typed: str) -> None:
    runs = [make_run("full", params={"train_size": typed}), make_run("lora"), make_run("ia3", params={"train_size": "032"})]
    assert [size_of(run) for run in runs] == ["all", "all", "32"]
