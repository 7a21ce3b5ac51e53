"""What answers cost, in table, front and verdict: compared in one setting alone, and beyond the machine's unsteadiness."""

from collections.abc import Callable, Mapping

import pytest

from pipeline.comparison.comparability import describe_unlike_settings
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.pareto import draw_pareto, find_points, tabulate_points
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import build_table, render_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
Record = Callable[..., RecordedPredictions]
HERE = "X, 2 threads"


def timed(median: float, spread: float = 0.1, merged: float | None = None) -> dict[str, float]:
    def of(prefix: str, value: float) -> dict[str, float]:
        figures = {"median": value, "low": value - spread, "high": value + spread, "p99": 2 * value}
        return {f"cost/{prefix}latency_ms_{name}": figure for name, figure in figures.items()} | {
            f"cost/{prefix}predict_examples_per_second": 1000 / value
        }

    return of("", median) | ({} if merged is None else of("merged_", merged))


@pytest.fixture
def study(make_run: MakeRun, record: Record) -> Callable[..., tuple[list[Run], str, str]]:
    """Rows that tie, with what their answers cost: the runs, the table as text, and the verdict's sentence on cost."""

    def make(
        rows: Mapping[str, list[dict[str, float]]], settings: Mapping[str, str] | None = None, right: float = 0.9
    ) -> tuple[list[Run], str, str]:
        runs = [
            make_run(
                name,
                0.9 - 0.001 * place,
                metrics={"cost/train_seconds": 1.0} | metrics,
                params={"seed": str(seed)},
                tags={"fairtune.predict_setting": (settings or {}).get(f"{name}{seed}", HERE)} if metrics else None,
            )
            for place, (name, of_seeds) in enumerate(rows.items())
            for seed, metrics in enumerate(of_seeds)
        ]
        table = build_table(runs)
        statistics = compute_statistics(table, runs, record(runs, [right] * len(runs)))
        return runs, render_table(table), reach_verdict(statistics, table).sentences[1]

    return make


def test_the_fastest_of_those_that_tie_is_named(study) -> None:
    _, table, cost = study({"full": [timed(5.0)], "lora": [timed(8.0)], "tfidf": [timed(0.4)]})
    assert "ms a text (p99)" in table
    assert "5.00 (10.00)" in table
    assert "merged" not in table
    assert "tfidf answers one text fastest, in 0.4 ms (0.3 to 0.5); full follows with 5 ms (4.9 to 5.1)." in cost, "it leads"
    _, _, cost = study({"lora": [timed(8.0)], "full": [timed(5.0)]})
    assert "answers one text fastest, in 5 ms (4.9 to 5.1)" in cost
    assert cost.endswith(("instead of the 8 ms (7.9 to 8.1) of lora.", "; lora follows with 8 ms (7.9 to 8.1)."))


def test_merged_adapters_count_by_their_quicker_way(study) -> None:
    _, table, cost = study({"full": [timed(5.0)], "lora": [timed(8.0, merged=4.0)]})
    assert "merged ms (p99)" in table
    assert "lora, with its adapters merged, answers one text fastest, in 4 ms (3.9 to 4.1)" in cost


def test_within_their_unsteadiness_none_is_named(study) -> None:
    _, _, cost = study({"full": [timed(5.0, 0.1)], "lora": [timed(5.5, 0.1)]})
    assert "No difference was shown in how fast " in cost
    assert cost.endswith("answer: one text in 5 to 5.5 ms.")


def test_seeds_widen_the_range(study) -> None:
    _, _, cost = study({"full": [timed(5.0), timed(5.6)], "lora": [timed(5.5), timed(5.9)]})
    assert "No difference was shown in how fast " in cost
    _, _, cost = study({"full": [timed(5.0), timed(5.2)], "lora": [timed(6.5), timed(6.9)]})
    assert "full answers one text fastest, in 5.1 ms (4.9 to 5.3)" in cost


def test_two_that_are_equally_fast_are_named_together(study) -> None:
    _, _, cost = study({"full": [timed(9.0)], "lora": [timed(5.0)], "ia3": [timed(5.1)]})
    assert " answer one text fastest, and no difference between them was shown: 5 ms (4.9 to 5.1)" in cost
    _, _, cost = study({"full": [timed(5.0)], "lora": [timed(8.0, merged=4.9)], "ia3": [timed(9.0)]})
    assert " answer one text fastest (lora with adapters merged), and no difference between them was shown: 4.9 ms" in cost


@pytest.mark.parametrize("elsewhere", ["lora0", "full0"])
def test_other_settings_are_not_compared(study, elsewhere: str) -> None:
    runs, table, cost = study({"full": [timed(5.0)], "lora": [timed(8.0)]}, {elsewhere: "Y, 64 threads"})
    assert "answer" not in cost
    assert "measured on" in table
    by_row = {run.name: [run] for run in runs}
    assert "the column measured on" in " ".join(describe_unlike_settings(by_row))


def test_seeds_of_other_settings_have_no_mean(study) -> None:
    _, table, cost = study({"full": [timed(5.0), timed(9.0)], "lora": [timed(8.0)]}, {"full1": "Y, 64 threads"})
    assert "8.00 (16.00)" in table
    assert "7.00" not in table
    assert "answer" not in cost


def test_runs_of_older_versions_have_empty_columns(study) -> None:
    _, table, cost = study({"full": [{}], "lora": [timed(8.0)]})
    assert "8.00 (16.00)" in table
    assert "nan" not in table
    assert "answer" not in cost
    _, table, cost = study({"full": [{}], "lora": [{}]})
    assert "ms a text" not in table
    assert "measured on" not in table


def test_fronts_of_their_own_as_it_is_and_merged(make_run: MakeRun, record: Record) -> None:
    setting = {"fairtune.predict_setting": HERE}
    runs = [
        make_run("full", 0.9, metrics=timed(5.0), tags=setting),
        make_run("lora", 0.89, metrics=timed(8.0, merged=4.0), tags=setting),
    ]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9, 0.9]))
    points = find_points(table, runs, statistics)
    frame = tabulate_points(points, statistics).set_index(["cost", "row"])
    assert frame.loc[("latency_ms", "lora"), ["value", "value_min", "value_max"]].tolist() == [8.0, 7.9, 8.1]
    assert frame.loc[("merged_latency_ms", "lora"), ["value", "value_min", "value_max"]].tolist() == [4.0, 3.9, 4.1]
    assert frame.loc[("merged_latency_ms", "full"), "value"] == 5.0
    assert not frame.loc[("latency_ms", "lora"), "on_front"] or not frame.loc[("latency_ms", "full"), "on_front"]
    titles = [axes.get_xlabel() for axes in draw_pareto(points, statistics).axes if axes.axison]
    assert titles[-2:] == ["time to answer one text (ms)", "time to answer one text (ms), adapters merged"]
    alone = find_points(
        build_table(runs[:1]), runs[:1], compute_statistics(build_table(runs[:1]), runs[:1], record(runs[:1], [0.9]))
    )
    assert [cost.name for cost in alone][-1] == "latency_ms", "nothing is merged"
