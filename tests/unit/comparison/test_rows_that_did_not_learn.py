"""A collapsed row is named as one that did not learn, and squashes no axis, list or scale."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.breakdown import break_down, hardest_examples
from pipeline.comparison.conclusions.caveats import describe_statistics, list_caveats
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.pareto import draw_pareto, find_points, tabulate_points
from pipeline.comparison.plots import draw_all
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.report import tables
from pipeline.comparison.report.tables import ReportData
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import Statistics, compute_statistics
from pipeline.comparison.table import add_statistics, build_table, render_table
from pipeline.comparison.training_curves import draw_curves, read_curves
from pipeline.evaluation.metric import Answers, measure
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
MakeReportData = Callable[..., ReportData]
ONE_CLASS = 0.0
"""In place of an accuracy: every text is answered with one class."""
MEASURED: dict[str, float] = {"train/loss_mean": 0.5, "model/trainable_params": 1000.0}


@dataclasses.dataclass(frozen=True)
class Study:
    runs: Sequence[Run]
    table: pd.DataFrame
    statistics: Statistics
    recorded: RecordedPredictions

    @property
    def said(self) -> list[str]:
        return list(describe_statistics(self.table, Selection(tuple(self.runs), ()), self.statistics))


@pytest.fixture
def make_study(make_run: MakeRun) -> Callable[..., Study]:
    """Makes up a study of rows by the accuracy of each seed."""

    def make(accuracies: Mapping[str, Sequence[float]], majority: float = 0.5, texts: int = 853) -> Study:
        generator = np.random.default_rng(0)
        gold = (np.arange(texts) >= majority * texts).astype(np.int64)
        generator.shuffle(gold)
        runs, predicted, confidence = [], {}, {}
        for place, (name, seeds) in enumerate(accuracies.items()):
            for seed, accuracy in enumerate(seeds):
                right = generator.permutation(texts) < round(accuracy * texts)
                said = np.where(right, gold, 1 - gold) if accuracy else np.zeros(texts, np.int64)
                scores = {f"test/{metric}": value for metric, value in measure(Answers(gold, said, 2)).items()}
                costs = MEASURED | {
                    "model/trainable_percent": 100.0 / (1 + place),
                    "test/ece": 0.0 if accuracy == ONE_CLASS else 0.1,
                }
                run = make_run(name, None, params={"seed": str(seed)}, metrics={**scores, **costs})
                runs.append(run)
                predicted[run.run_id] = said
                confidence[run.run_id] = np.full(texts, 0.9 if accuracy else 0.5)
        said_texts = [f"text {number}" for number in range(texts)]
        recorded = RecordedPredictions(said_texts, gold, ["bad", "good"], predicted, confidence)
        table = build_table(runs)
        statistics = compute_statistics(table, runs, recorded)
        return Study(runs, add_statistics(table, statistics), statistics, recorded)

    return make


def test_a_collapsed_row_is_said_not_to_have_learned_and_not_to_be_behind(make_study: Callable[..., Study]) -> None:
    """A quick start as it once came out: prefix at the loss of a guess, accuracy 0.499."""
    study = make_study({"full": [0.84], "lora": [0.83], "prefix": [ONE_CLASS], "head_only": [0.66]})
    verdict = reach_verdict(study.statistics, study.table)
    prefix = study.table.index[study.table["strategy"] == "prefix"][0]
    assert verdict.unlearned == (prefix,)
    assert prefix not in (*verdict.behind, *verdict.tied)
    assert re.search(
        r"; head_only is behind, by [^.]*\.\d points \([^)]*\)\. prefix did not learn: its accuracy, 0\.50\d \(95 % interval "
        r"0\.46\d to 0\.53\d\), is not shown to be above 0\.50\d, that of always answering the most frequent class\.$",
        verdict.sentences[0],
    )
    assert "prefix" not in verdict.sentences[1]
    assert dict(zip(study.table["strategy"], study.table["learned"], strict=True))["prefix"] == "no"
    assert re.search(r"learned.*\n.*\nfull .* yes ", render_table(study.table))
    assert "prefix did not learn: it predicts one class for every text. Another learning rate may help." in study.said


def test_answers_by_chance_are_no_learning_either_and_skewed_classes_are_judged_by_macro_f1(
    make_study: Callable[..., Study],
) -> None:
    study = make_study({"full": [0.84], "prompt": [0.51]})
    assert [row.learned for row in study.statistics.rows] == ["yes", "no"]
    study = make_study({"full": [0.88], "prompt": [ONE_CLASS]}, majority=0.9)
    rows = {row.name: row for row in study.statistics.rows}
    assert rows["full"].intervals["accuracy"].low < 0.9, "right less often than by always answering the larger class"
    assert rows["full"].learned == "yes", "and yet it tells the classes apart"
    assert rows["prompt"].learned == "no"


def test_seeds_that_did_not_learn_are_counted(make_study: Callable[..., Study]) -> None:
    study = make_study({"full": [0.84] * 5, "lora": [0.83, 0.83, 0.83, 0.83, ONE_CLASS], "prefix": [0.8, 0.8, ONE_CLASS, 0, 0]})
    by_name = dict(zip(study.table["strategy"], study.table["learned"], strict=True))
    assert by_name == {"full": "yes", "lora": "4 of 5 seeds", "prefix": "2 of 5 seeds"}
    rank, _, limits = reach_verdict(study.statistics, study.table).sentences
    assert "3 of 5 seeds of prefix did not learn, so its mean is not ranked." in rank
    assert "1 of 5 seeds of lora did not learn, and count in its mean" in limits
    assert any(
        line.startswith("3 of 5 seeds of prefix did not learn: with 3 of its 5 seeds it predicts") for line in study.said
    )


def test_where_no_row_learned_none_is_best(make_study: Callable[..., Study]) -> None:
    study = make_study({"full": [ONE_CLASS], "lora": [0.5]})
    verdict = reach_verdict(study.statistics, study.table)
    assert verdict.top is None
    nothing = "Nothing can be said of how the strategies rank: there is no row that learned."
    assert re.match(rf"{nothing} (full and lora|lora and full) did not learn: the accuracy is", verdict.sentences[0])
    assert hardest_examples(study.recorded, unlearned=study.statistics.unlearned).empty


def test_swapped_classes_are_suspected_where_answers_are_worse_than_any_guess(make_study: Callable[..., Study]) -> None:
    study = make_study({"full": [0.84], "lora": [0.2]})
    assert "lora did not learn: it is far below chance: the classes may be swapped." in study.said


def test_a_tokenizer_that_knows_few_tokens_is_named_before_the_learning_rate(make_study: Callable[..., Study]) -> None:
    study = make_study({"full": [0.84], "prefix": [ONE_CLASS]})
    runs = [
        dataclasses.replace(run, metrics={**run.metrics, "data/unknown_tokens_percent": 93.0})
        if run.tags["strategy"] == "prefix"
        else run
        for run in study.runs
    ]
    said = dataclasses.replace(study, runs=runs).said
    assert any(line.endswith("unknown to its tokenizer, which no learning rate mends.") for line in said)
    assert not any("Another learning rate" in line for line in said)


def test_the_hardest_examples_are_those_of_the_rows_that_learned(make_study: Callable[..., Study]) -> None:
    study = make_study({"full": [0.84], "prefix": [ONE_CLASS]})
    rows = {row.name: ids.split() for row, ids in zip(study.statistics.rows, study.table["run_ids"], strict=True)}
    with_all = hardest_examples(study.recorded, rows)
    without = hardest_examples(study.recorded, rows, study.statistics.unlearned)
    alone = hardest_examples(study.recorded, {"full": rows["full"]})
    assert without.equals(alone)
    assert not without.equals(with_all)


def test_a_cheap_row_that_did_not_learn_is_on_no_front_and_leaves_the_axis_to_the_others(
    make_study: Callable[..., Study],
) -> None:
    study = make_study({"full": [0.84], "lora": [0.83], "prefix": [ONE_CLASS]})  # the cheapest is prefix
    points = find_points(study.table, study.runs, study.statistics)
    found = tabulate_points(points, study.statistics).set_index("row")
    assert found["value"].idxmin() == "prefix"
    assert not found.loc["prefix", "on_front"]
    assert found.loc["lora", "on_front"]
    axes = draw_pareto(points, study.statistics).axes[0]
    low, high = axes.get_ylim()
    assert 0.75 < low < high < 0.9
    assert any(re.fullmatch(r"prefix \(did not learn, 0\.33\d\)", text.get_text()) for text in axes.texts)
    bars = draw_all(study.table)["f1"].axes[0]
    assert [bar.get_hatch() for bar in bars.patches] == [None, None, "////"]
    assert any("did not learn" in text.get_text() for text in bars.texts)


def test_a_loss_that_exploded_does_not_squash_the_other_bars(make_study: Callable[..., Study]) -> None:
    study = make_study({"full": [0.84], "lora": [0.83], "prefix": [ONE_CLASS]})
    table = study.table.assign(train_loss=[0.3, 0.4, 500.0], trainable_params=[10.0, 20.0, 30.0])
    loss = draw_all(table)["overview"].axes[1]
    assert loss.get_xlim()[1] < 1
    assert [text.get_text() for text in loss.texts] == ["0.300", "0.400", "500.000"]
    assert all(text.xy[0] < loss.get_xlim()[1] for text in loss.texts)


class Store:
    """Histories of metrics in place of a tracking store."""

    def __init__(self, runs: Sequence[Run], histories: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        self.recorded = {run.run_id: histories[run.tags["strategy"]] for run in runs}

    def read_histories(self, run_ids: Sequence[str], metric: str) -> dict[str, Sequence[tuple[int, float]]]:
        turned = metric == "val/accuracy"
        return {run_id: [(step, 1 - value if turned else value) for step, value in self.recorded[run_id]] for run_id in run_ids}


def test_a_curve_that_did_not_learn_or_has_no_number_leaves_the_axis_to_the_others(make_study: Callable[..., Study]) -> None:
    study = make_study({"full": [0.84], "lora": [0.83], "prefix": [ONE_CLASS]})
    runs = [dataclasses.replace(run, metrics={**run.metrics, "train/steps_per_epoch": 2.0}) for run in study.runs]
    largest = float(np.finfo(float).max)  # as MLflow keeps an infinite loss
    histories = {
        "full": [(1, 0.3), (2, 0.2), (4, 0.18)],
        "lora": [(1, 0.3), (2, math.nan), (4, largest)],
        "prefix": [(1, 0.7), (2, 30.0), (4, 0.7)],
    }
    curves = read_curves(study.table, runs, Store(runs, histories))
    assert curves[1].points["loss"] == {0.5: 0.3}
    assert [curve.row for curve in curves] == [0, 1, 2]
    figure = draw_curves(curves, study.statistics.apart)
    for axes in figure.axes:
        assert np.ptp(axes.get_ylim()) < 0.2
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert "prefix (did not learn)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_it_is_ranked_by_no_calibration_error_and_shades_no_table(make_content: MakeReportData) -> None:
    content = make_content({"full": 0.9, "lora": 0.88, "head_only": 0.6})
    worst = content.statistics.rows[2]
    collapsed = dataclasses.replace(worst, judged=2, unlearned=("x", "y"), set_apart=True)
    statistics = dataclasses.replace(content.statistics, rows=(*content.statistics.rows[:2], collapsed))
    content = dataclasses.replace(content, statistics=statistics)
    for grid in (tables.results(content), tables.certainty(content)):
        column = list(grid.headings).index("ECE")
        values = [row[column].value for row in grid.rows]
        assert [math.isnan(value) for value in values] == [False, False, True]
        assert grid.rows[2][column].text
    shares = [[cell.share for cell in row[1:]] for row in tables.by_class(content).rows]
    assert min(shares[0] + shares[1]) == 0
    assert max(shares[0] + shares[1]) == pytest.approx(0.8)
    assert shares[2] == [0, 0]
    assert break_down(content.recorded, {}).certainty.empty


def test_of_scores_a_correlation_whose_interval_holds_0_is_no_learning(make_run: MakeRun) -> None:
    def runs_of(name: str, correlations: Sequence[float], examples: float = 200.0) -> list[Run]:
        return [
            make_run(
                name,
                None,
                params={"seed": str(seed)},
                metrics=MEASURED | {"test/spearman": value, "test/pearson": value, "test/examples": examples},
            )
            for seed, value in enumerate(correlations)
        ]

    runs = [*runs_of("full", [0.7, 0.72]), *runs_of("lora", [0.6, 0.05]), *runs_of("prefix", [0.0]), *runs_of("ia3", [-0.6])]
    recorded = RecordedPredictions((), np.empty(0, np.int64), [], {}, {})
    table = build_table(runs)
    statistics = compute_statistics(table, runs, recorded)
    shown = add_statistics(table, statistics)
    assert dict(zip(shown["strategy"], shown["learned"], strict=True)) == {
        "full": "yes",
        "lora": "1 of 2 seeds",
        "prefix": "no",
        "ia3": "no",
    }
    [sentence] = reach_verdict(statistics, shown).sentences
    assert (
        "prefix and ia3 did not learn: the 95 % interval of the correlation with the true scores does not lie above 0."
        in sentence
    )
    said = list(list_caveats(shown, Selection(tuple(runs), ()), statistics))
    assert "1 of 2 seeds of lora did not learn. Another learning rate may help." in said
    [axes] = draw_all(shown)["spearman"].axes
    assert [bar.get_hatch() for bar in axes.patches] == [None, None, "////", "////"]


def test_of_very_few_examples_or_none_recorded_nothing_is_said_of_learning(make_run: MakeRun) -> None:
    runs = [make_run("full", None, metrics={"test/spearman": 0.0, "test/pearson": 0.0})]
    recorded = RecordedPredictions((), np.empty(0, np.int64), [], {}, {})
    table = build_table(runs)
    statistics = compute_statistics(table, runs, recorded)
    assert statistics.rows[0].learned == ""
    assert add_statistics(table, statistics) is table
