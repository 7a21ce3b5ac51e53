"""Rows without an encoder: what the verdict says of the others beside them, and that they change nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pipeline.comparison.comparability import list_settings, tell_settings_apart
from pipeline.comparison.conclusions.caveats import describe_statistics
from pipeline.comparison.conclusions.verdict import Verdict, reach_verdict
from pipeline.comparison.pareto import find_points
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.selection import Selection, list_budgets
from pipeline.comparison.statistics import Statistics, compute_statistics
from pipeline.comparison.table import add_statistics, build_table, shown_columns
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
Record = Callable[..., RecordedPredictions]
HARDWARE = {"fairtune.hardware": "a CPU, 2 threads"}


@pytest.fixture
def study(make_run: MakeRun, record: Record) -> Callable[..., tuple[list[Run], Statistics, Verdict]]:
    """Runs right with their chance; without an encoder a run has no share of parameters, type or batch size."""

    def study(**accuracies: float) -> tuple[list[Run], Statistics, Verdict]:
        runs = []
        for name, accuracy in accuracies.items():
            run = make_run(name, accuracy, tags=HARDWARE, metrics={"cost/train_seconds": 1.0})
            if name in ("majority", "tfidf"):
                del run.metrics["model/trainable_percent"]  # type: ignore[attr-defined]
            else:
                run.params.update(model="minilm", compute_dtype="bfloat16", batch_size="32", epochs="2")  # type: ignore[attr-defined]
            runs.append(run)
        table = build_table(runs)
        recorded = record(runs, list(accuracies.values()))
        for run in runs:
            if run.name == "majority":
                recorded.predicted[run.run_id][:] = 0  # type: ignore[index]
        statistics = compute_statistics(table, runs, recorded)
        return runs, statistics, reach_verdict(statistics, table)

    return study


def test_the_verdict_says_when_no_strategy_is_shown_better(study: Callable[..., tuple[list[Run], Statistics, Verdict]]) -> None:
    rank, cost, _ = study(full=0.8, lora=0.79, tfidf=0.79)[2].sentences
    assert "No strategy is shown better than tfidf, which trains no encoder; that is no proof that none is." in rank
    assert re.match("(full and lora|lora and full) train the same share", cost)
    assert "recorded" not in cost


def test_the_verdict_says_when_every_strategy_is_shown_worse(
    study: Callable[..., tuple[list[Run], Statistics, Verdict]],
) -> None:
    rank = study(full=0.7, lora=0.69, tfidf=0.95)[2].sentences[0]
    assert "tfidf, which trains no encoder, is shown better than every strategy that trains one." in rank
    assert "no proof" not in rank


def test_the_verdict_says_which_are_shown_better_and_which_are_not(
    study: Callable[..., tuple[list[Run], Statistics, Verdict]],
) -> None:
    rank = study(full=0.95, lora=0.94, bitfit=0.80, tfidf=0.79)[2].sentences[0]
    assert "full is shown better than tfidf, which trains no encoder, by " in rank
    assert "; so is lora. bitfit is not." in rank
    alone = study(full=0.95, tfidf=0.7)[2].sentences[0]
    assert "is shown better than tfidf" in alone
    assert "so is" not in alone
    assert "not." not in alone


def test_a_baseline_that_is_best_costs_no_encoder(study: Callable[..., tuple[list[Run], Statistics, Verdict]]) -> None:
    _, _, verdict = study(full=0.6, tfidf=0.9)
    assert "tfidf is ahead of all others" in verdict.sentences[0]
    assert "tfidf, which trains no encoder, is shown better than every strategy that trains one" in verdict.sentences[0]
    assert verdict.sentences[1] == "tfidf trains no encoder."


def test_nothing_is_said_of_baselines_alone_or_none(study: Callable[..., tuple[list[Run], Statistics, Verdict]]) -> None:
    for accuracies in ({"tfidf": 0.9, "majority": 0.5}, {"full": 0.9, "lora": 0.5}, {"full": 0.9, "majority": 0.5}):
        assert "shown better than" not in study(**accuracies)[2].sentences[0]


def test_majority_is_not_asked_whether_it_has_learned(study: Callable[..., tuple[list[Run], Statistics, Verdict]]) -> None:
    runs, statistics, verdict = study(full=0.9, tfidf=0.8, majority=0.5)
    table = add_statistics(build_table(runs), statistics)
    assert "learned" not in table
    said = " ".join(describe_statistics(build_table(runs), Selection(tuple(runs), ()), statistics))
    assert "did not learn" not in said
    assert verdict.behind == (1, 2)


def test_majority_is_not_the_best_where_nothing_else_learned(
    study: Callable[..., tuple[list[Run], Statistics, Verdict]],
) -> None:
    verdict = study(full=0.5, majority=0.5)[2]
    assert verdict.top is None
    assert "there is no row that learned" in verdict.sentences[0]


def test_a_baseline_is_of_the_setting_of_its_hardware(study: Callable[..., tuple[list[Run], Statistics, Verdict]]) -> None:
    runs, statistics, _ = study(full=0.9, lora=0.8, tfidf=0.8, majority=0.5)
    rows = [[run] for run in runs]
    assert tell_settings_apart(rows) == ["", "", "", ""]
    assert len({*map(tuple, list_settings(rows))}) == 1
    table = build_table(runs)
    points = find_points(table, runs, statistics)
    times = next(points for cost, points in points.items() if cost.name == "seconds")
    assert len({point.setting for point in times}) == 1
    assert len(times) == 3, "what reads no text is on no front"
    assert [len(points) for cost, points in points.items() if cost.name == "trainable_percent"] == [2]
    shown = {column.name: column.cells for column in shown_columns(table)}
    assert not {"epochs", "model", "setting"} & set(shown)
    runs[1].params["batch_size"] = "64"  # type: ignore[index]
    assert tell_settings_apart(rows) == ["batches of 32", "batches of 64", "", ""]
    assert list_settings(rows)[2] == ["a CPU, 2 threads"]


def test_what_has_nothing_to_tune_has_no_budget(make_run: MakeRun) -> None:
    tuned = {"fairtune.tuned_trials": "4", "fairtune.tuning_budget": "4 trials"}
    runs = [make_run("full", tags=tuned), make_run("tfidf", tags=tuned), make_run("majority")]
    assert list_budgets(runs) == ["4 trials"]
    assert list_budgets([*runs, make_run("lora")]) == ["4 trials", "untuned"]
