import math
from collections.abc import Callable

import pytest

from pipeline.comparison.comparability import describe_failures, describe_mixed_times
from pipeline.comparison.conclusions.caveats import list_caveats
from pipeline.comparison.selection import select_runs
from pipeline.comparison.table import build_table, render_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def test_mean_deviation_minimum_and_count_stand_in_the_row(make_run: MakeRun) -> None:
    runs = [make_run(f1=f1, params={"seed": str(seed)}) for seed, f1 in enumerate((0.7, 0.8, 0.9))]
    [row] = build_table(runs).to_dict("records")
    assert row["f1_macro"] == pytest.approx(0.8)
    assert row["f1_macro_std"] == pytest.approx(0.1), "of a sample: divided by n - 1"
    assert row["f1_macro_min"] == pytest.approx(0.7)
    assert (row["seeds"], row["failed_seeds"]) == (3, 0)
    assert "0.8000 ± 0.1000" in render_table(build_table(runs))


def test_one_seed_has_no_deviation(make_run: MakeRun) -> None:
    table = build_table([make_run(f1=0.7)])
    assert math.isnan(table["f1_macro_std"][0])
    assert table["f1_macro_min"][0] == 0.7
    assert "±" not in render_table(table)


def test_transfer_scores_have_their_spread_and_the_lowest_score_is_shown_where_seeds_repeat(make_run: MakeRun) -> None:
    runs = [
        make_run(f1=f1, params={"seed": str(f1)}, metrics={"transfer/f1_macro": f1 - 0.1, "transfer/accuracy": f1})
        for f1 in (0.7, 0.9)
    ]
    table = build_table(runs)
    [row] = table.to_dict("records")
    assert row["transfer_f1_macro_std"] == pytest.approx(0.2 / 2**0.5)
    assert (row["transfer_f1_macro_min"], row["transfer_accuracy_min"]) == (pytest.approx(0.6), 0.7)
    assert "0.7000 ± 0.1414" in render_table(table)
    assert "lowest" in render_table(table)
    assert "lowest" not in render_table(build_table(runs[:1]))
    assert not {"transfer_f1_macro_std", "transfer_accuracy_min"} & set(build_table([make_run()]))


def failed(make_run: MakeRun, seed: str, strategy: str = "full", **more: object) -> Run:
    return make_run(strategy, f1=None, status="FAILED", params={"seed": seed}, **more)


def test_failed_seeds_are_counted_and_named(make_run: MakeRun) -> None:
    runs = [make_run(params={"seed": "1"}), make_run(params={"seed": "2"}), make_run("lora")]
    selection = select_runs([*runs, failed(make_run, "10"), failed(make_run, "9")])
    table = build_table(selection.kept, selection.failed).set_index("strategy")
    assert table["failed_seeds"].to_dict() == {"full": 2, "lora": 0}
    assert table["seeds"].to_dict() == {"full": 2, "lora": 1}
    assert list(describe_failures(selection)) == [
        "full: 2 of 4 seeds failed (9, 10). Means exclude failed seeds and may be optimistic."
    ]
    assert "2 (2 failed)" in render_table(table.reset_index())
    assert "full: 2 of 4 seeds failed" in "\n".join(list_caveats(table.reset_index(), selection))


def test_a_failure_that_was_made_good_does_not_count(make_run: MakeRun) -> None:
    same = {"config_hash": "same"}
    runs = [failed(make_run, "2", tags=same), make_run(params={"seed": "1"}), make_run(params={"seed": "2"}, tags=same)]
    assert select_runs(runs).failed == ()


def test_a_seed_that_failed_twice_counts_once(make_run: MakeRun) -> None:
    tries = [failed(make_run, "2", tags={"config_hash": "same"}) for _ in range(2)]
    assert select_runs([*tries, make_run(params={"seed": "1"})]).failed == (tries[1],)


@pytest.mark.parametrize("tags", [{"data_fingerprint": "e" * 64}, {"settings_hash": "other"}, {"num_processes": "2"}])
def test_failures_on_other_data_or_with_other_settings_do_not_count(make_run: MakeRun, tags: dict[str, str]) -> None:
    selection = select_runs([failed(make_run, "2", tags=tags), make_run(params={"seed": "1"})])
    assert build_table(selection.kept, selection.failed)["failed_seeds"].tolist() == [0]
    assert list(describe_failures(selection)) == []


def test_an_interrupted_run_is_no_failed_seed(make_run: MakeRun) -> None:
    interrupted = make_run(f1=None, status="KILLED", params={"seed": "2"})
    assert select_runs([interrupted, make_run(params={"seed": "1"})]).failed == ()


def test_rows_of_other_seeds_are_told(make_run: MakeRun) -> None:
    text = "The rows are not of the same seeds"

    def said(*seeds: tuple[str, str]) -> bool:
        selection = select_runs([make_run(strategy, params={"seed": seed}) for strategy, seed in seeds])
        return text in "\n".join(list_caveats(build_table(selection.kept), selection))

    assert not said(("full", "1"), ("full", "2"), ("lora", "2"), ("lora", "1"))
    assert said(("full", "1"), ("full", "2"), ("lora", "1"))
    assert said(("full", "1"), ("lora", "2"))


def test_times_of_trainings_that_did_not_cost_alike_are_said_to_be_mixed(make_run: MakeRun) -> None:
    kinds = ("built", "found", "unused")
    partial = [make_run("partial", params={"seed": kind}, tags={"frozen_prefix_cache": kind}) for kind in kinds]
    full = [make_run("full", params={"seed": seed}, tags={"frozen_prefix_cache": "unused"}) for seed in "12"]
    assert not list(describe_mixed_times(select_runs([*partial[:2], *full])))
    [line] = describe_mixed_times(select_runs([*partial, *full]))
    assert line.startswith("partial: the outputs of frozen layers were kept for some seeds")
