"""Rows ranked by another metric: order, letters, sentences, fronts, and what is refused."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.comparison.breakdown import break_down
from pipeline.comparison.conclusions.caveats import list_caveats
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.exported_tables import tabulate_pairs
from pipeline.comparison.pareto import draw_pareto, find_points, tabulate_points
from pipeline.comparison.plots import draw_all
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.ranking import (
    choose_ranking,
    headline,
    refuse_long_sorting,
    refuse_unfit_predictions,
    refuse_unmeasured,
    refuse_without_probabilities,
)
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import add_statistics, build_table, render_table, shown_columns
from pipeline.errors import ConfigError
from pipeline.evaluation.metric import Answers, list_ranking, measure
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
TEXTS = 400
SURE = {"full": 0.99, "lora": 0.85, "ia3": 0.6}
"""Row -> the probability of what it says; each is right of four texts in five, but not of the same."""


def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESAMPLES", "FEWEST_RESAMPLES"):
        monkeypatch.setattr(f"pipeline.evaluation.statistics.bootstrap.{name}", 300)


@pytest.fixture
def study(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch):
    """Rows that are equally often right and not equally sure, the surest costing most."""
    few_resamples(monkeypatch)
    gold, predicted, probabilities, runs = np.arange(TEXTS) % 2, {}, {}, []
    for place, (name, sure) in enumerate(SURE.items()):
        said = np.where((np.arange(TEXTS) // 2 + place) % 5 > 0, gold, 1 - gold)
        known = np.where(np.arange(2) == said[:, None], sure, 1 - sure)
        scores = measure(Answers(gold, said, 2, lambda known=known: known))
        metrics = {f"test/{metric}": value for metric, value in scores.items()} | {"cost/artifact_mb": 10.0 - place}
        metrics |= {"train/loss_mean": 0.5, "model/trainable_params": 10.0}
        runs += [make_run(name, None, metrics=metrics, params={"seed": seed}) for seed in "12"]
        predicted |= {run.run_id: said for run in runs[-2:]}
        probabilities |= {run.run_id: known for run in runs[-2:]}
    confidence = {run_id: known.max(axis=1) for run_id, known in probabilities.items()}
    texts = [f"text {number}" for number in range(TEXTS)]
    return runs, RecordedPredictions(texts, gold, ["bad", "good"], predicted, confidence, {}, probabilities)


def test_the_lowest_nll_comes_first_and_every_sentence_says_so(study) -> None:
    runs, recorded = study
    table = build_table(runs, ranking_metric="nll")
    statistics = compute_statistics(table, runs, recorded)
    table = add_statistics(table, statistics)
    assert table["strategy"].tolist() == ["lora", "ia3", "full"]
    assert table["nll"].is_monotonic_increasing
    assert set(table["ranking_metric"]) == {"nll"}
    assert [row.group for row in statistics.rows] == ["a", "b", "c"]
    verdict = reach_verdict(statistics, table)
    assert (verdict.top, verdict.behind) == (0, (1, 2))
    assert re.match(
        r"lora is ahead of all others \(NLL 0\.\d{3}, 95 % interval [\d.]+ to [\d.]+\): ia3 and full are behind, "
        r"ia3 by (0\.\d{3}) \(0\.\d{3} to 0\.\d{3}\)\.$",
        verdict.sentences[0],
    )
    assert re.search(r"show a difference in NLL of 0\.\d{3} or more between", verdict.sentences[2])
    [first, *_] = (line for line in tabulate_pairs(statistics).to_dict("records") if line["second"] == "ia3")
    assert (first["better"], first["nll_difference"] < 0) == ("lora", True)
    said = "\n".join(list_caveats(table, Selection(tuple(runs), ()), statistics))
    assert "cannot be told apart by NLL" in said
    assert "Rows are compared by NLL (lower is better), as --ranking-metric says, in place of macro F1. That is fair" in said


def test_mcnemar_s_test_decides_nothing_of_probabilities_and_is_shown_all_the_same(study) -> None:
    runs, recorded = study
    for run in runs:  # all say the same
        recorded.predicted[run.run_id] = recorded.gold
        recorded.probabilities[run.run_id] = np.where(np.arange(2) == recorded.gold[:, None], 1.0, 0.0)
    generator = np.random.default_rng(0)
    for run, sure in zip(runs, np.repeat([0.9, 0.8, 0.7], 2), strict=True):
        right = np.clip(sure + generator.normal(0, 0.02, TEXTS), 0.55, 0.99)[:, None]
        recorded.probabilities[run.run_id] = np.where(np.arange(2) == recorded.gold[:, None], right, 1 - right)
    by_f1, by_nll = (compute_statistics(build_table(runs, ranking_metric=name), runs, recorded).pairs for name in (None, "nll"))
    assert all((pair.p_mcnemar, pair.discordance) == (1, 0) for pair in (*by_f1, *by_nll))
    assert not any(pair.different for pair in by_f1)
    assert all(pair.different and pair.decided_by == "paired bootstrap" for pair in by_nll)


def test_table_pictures_and_fronts_follow(study) -> None:
    runs, recorded = study
    table = build_table(runs, ranking_metric="nll")
    statistics = compute_statistics(table, runs, recorded)
    table = add_statistics(table, statistics)
    headings = [column.heading for column in shown_columns(table)]
    at = headings.index("NLL")
    assert headings[at : at + 3] == ["NLL", "highest", "95 % interval"]
    assert headings.count("95 % interval") == 1
    assert f"{table['nll_low'][0]:.3f} to {table['nll_high'][0]:.3f}" in render_table(table)
    usual = [column.heading for column in shown_columns(add_statistics(build_table(runs), statistics))]
    assert "NLL" not in usual, "of no row that does something about rare classes"
    assert usual[usual.index("macro F1") :][:3] == ["macro F1", "lowest", "95 % interval"]
    figures = draw_all(table)
    assert {"nll", "overview"} <= figures.keys()
    assert "f1" not in figures
    assert figures["nll"].axes[0].get_title().startswith("test negative log-likelihood, lower is better\n")
    assert any(axes.get_title().startswith("test macro F1\n") for axes in figures["overview"].axes)
    points = find_points(table, runs, statistics)
    front = tabulate_points(points, statistics).set_index(["cost", "row"])
    assert front.loc["artifact_mb", "on_front"].to_dict() == {"lora": True, "ia3": True, "full": False}
    assert front.loc[("artifact_mb", "full"), "dominated_by"] == "lora; ia3"
    assert draw_pareto(points, statistics).axes[0].get_ylabel() == "test negative log-likelihood, lower is better"
    rows = {row.name: ids.split() for row, ids in zip(statistics.rows, table["run_ids"], strict=True)}
    assert "f1_macro" in break_down(recorded, rows).by_length, "breakdowns stay as they are"


def test_an_interval_that_leaves_the_mean_out_is_drawn(study) -> None:
    """Probabilities are rounded in the file: one of 1e-30 is read as 5e-7."""
    runs, recorded = study
    table = build_table(runs, ranking_metric="nll")
    table = add_statistics(table, compute_statistics(table, runs, recorded)).assign(nll=[9.0, 9.0, 9.0])
    assert (table["nll"] > table["nll_high"]).all()
    assert draw_all(table)["nll"].axes


def test_what_all_say_equally_often_right_is_not_told_apart_by_the_usual_metric(study) -> None:
    runs, recorded = study
    table = build_table(runs)
    statistics = compute_statistics(table, runs, recorded)
    assert headline(table).name == statistics.metric.name == "f1_macro"
    assert {row.group for row in statistics.rows} == {"a"}
    said = "\n".join(list_caveats(table, Selection(tuple(runs), ()), statistics))
    assert "--ranking-metric" not in said


@pytest.mark.parametrize("metric", list_ranking("class"), ids=lambda metric: metric.name)
def test_any_metric_of_classes_ranks(study, metric) -> None:
    runs, recorded = study
    table = build_table(runs, ranking_metric=metric.name)
    statistics = compute_statistics(table, runs, recorded)
    assert statistics.known == sorted(statistics.known, key=lambda row: -metric.goodness(table[metric.name][row]))
    assert all(pair.lead == pair.differences[metric.name] for pair in statistics.pairs) == metric.greater_is_better
    verdict = reach_verdict(statistics, table)
    assert f"({metric.label} " in verdict.sentences[0]
    assert f"difference in {metric.label} of" in verdict.sentences[2] or "difference in accuracy" in verdict.sentences[2]


@pytest.mark.parametrize("metric", list_ranking("multi"), ids=lambda metric: metric.name)
def test_any_metric_of_label_sets_ranks(make_run: MakeRun, metric, monkeypatch: pytest.MonkeyPatch) -> None:
    few_resamples(monkeypatch)
    generator = np.random.default_rng(0)
    gold = generator.random((TEXTS, 3)) < [0.5, 0.3, 0.2]
    runs, predicted, probabilities = [], {}, {}
    for name, noise in (("full", 0.6), ("lora", 0.3)):
        known = np.clip(np.where(gold, 0.75, 0.25) + generator.normal(0, noise, gold.shape), 0.01, 0.99)
        scores = measure(Answers(gold, known >= 0.5, 3, lambda known=known: known))
        run = make_run(name, None, metrics={f"test/{each}": value for each, value in scores.items()})
        runs.append(run)
        predicted[run.run_id], probabilities[run.run_id] = known >= 0.5, known
    texts = [f"text {number}" for number in range(TEXTS)]
    recorded = RecordedPredictions(texts, gold, list("abc"), predicted, probabilities, {}, probabilities)
    refuse_unfit_predictions(metric, recorded, runs)
    table = build_table(runs, ranking_metric=metric.name)
    statistics = compute_statistics(table, runs, recorded)
    table = add_statistics(table, statistics)
    assert table["strategy"].tolist() == ["lora", "full"]
    assert [row.group for row in statistics.rows] == ["a", "b"]
    assert (table[f"{metric.name}_low"] <= table[metric.name]).all()
    assert (table[metric.name] <= table[f"{metric.name}_high"]).all()
    assert "lora is ahead of all others" in reach_verdict(statistics, table).sentences[0]


def test_scores_are_put_in_order_by_the_other_correlation(make_run: MakeRun) -> None:
    runs = [
        make_run(name, None, metrics={"test/spearman": first, "test/pearson": second, "test/examples": 100.0})
        for name, first, second in (("full", 0.9, 0.5), ("lora", 0.8, 0.7))
    ]
    assert build_table(runs)["strategy"].tolist() == ["full", "lora"]
    table = build_table(runs, ranking_metric="pearson")
    assert table["strategy"].tolist() == ["lora", "full"]
    assert headline(table).name == "pearson"
    assert "lowest" not in [column.heading for column in shown_columns(table)], "of one seed"


def test_what_the_labels_do_not_have_is_refused() -> None:
    assert choose_ranking("multi", "hamming_loss").label == "Hamming loss"
    for of, name, known in (("class", "spearman", "accuracy, "), ("score", "nll", "spearman, pearson (default spearman).")):
        with pytest.raises(ConfigError, match=f"--ranking-metric {name}: .* are not ranked by it. Choose {re.escape(known)}"):
            choose_ranking(of, name)


def test_runs_that_lack_it_are_named(study) -> None:
    runs, _ = study
    auroc = choose_ranking("class", "auroc")
    refuse_unmeasured(auroc, runs)
    del runs[2].metrics["test/auroc"]
    with pytest.raises(ConfigError) as caught:
        refuse_unmeasured(auroc, runs)
    assert str(caught.value) == (
        f"--ranking-metric auroc: lora (seed 1) (run {runs[2].run_id}) lacks test/auroc; what has none gives no probabilities, "
        "or was evaluated before it was measured, and `evaluate --run-id` adds it. Rank by another metric, such as accuracy, "
        "balanced_accuracy, precision_macro, or name the others with --run-ids."
    )
    with pytest.raises(ConfigError, match="auroc: is of probabilities, and twins will give none: a cosine is none"):
        refuse_without_probabilities(auroc, ["twins"])
    refuse_without_probabilities(auroc, [])


def test_predictions_that_do_not_suffice_are_named(study) -> None:
    runs, recorded = study
    auroc, mcc = (choose_ranking("class", name) for name in ("auroc", "mcc"))
    refuse_unfit_predictions(auroc, recorded, runs)
    del recorded.probabilities[runs[0].run_id]
    refuse_unfit_predictions(mcc, recorded, runs)
    with pytest.raises(ConfigError, match=rf"predictions.csv of full \(seed 1\) \(run {runs[0].run_id}\) holds no probability"):
        refuse_unfit_predictions(auroc, recorded, runs)


def test_too_much_to_sort_is_said_with_what_it_is() -> None:
    auroc, nll = (choose_ranking("class", name) for name in ("auroc", "nll"))
    refuse_long_sorting(nll, 10**6, 100, 40)
    refuse_long_sorting(auroc, 10_000, 2, 100)
    with pytest.raises(ConfigError, match=r"10,001 texts, 2 classes and 100 runs multiply to more than 2,000,000\."):
        refuse_long_sorting(auroc, 10_001, 2, 100)
