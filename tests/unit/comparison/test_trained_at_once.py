"""Rows of a study whose trainings ran beside others: when their times compare, and in which order they stand."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.comparison.comparability import describe_unlike_settings, in_planned_order, tell_settings_apart
from pipeline.comparison.table import build_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def trained(make_run: MakeRun, name: str, at_once: str | None, **params: str) -> Run:
    tags = {"fairtune.hardware": "a GPU"} | ({"fairtune.workers": at_once} if at_once else {})
    run = make_run(name, tags=tags, metrics={"cost/train_seconds": 3.0})
    run.params.update(model="minilm", compute_dtype="bfloat16", batch_size="32", **params)  # type: ignore[attr-defined]
    return run


def test_times_compare_where_as_many_ran_at_once(make_run: MakeRun) -> None:
    rows = {name: [trained(make_run, name, "4")] for name in ("full", "lora")}
    assert tell_settings_apart(rows.values()) == ["", ""]
    assert list(describe_unlike_settings(rows)) == []
    older = {"full": [trained(make_run, "full", None)], "lora": [trained(make_run, "lora", "1")]}
    assert tell_settings_apart(older.values()) == ["", ""], "what says nothing was alone"


def test_times_do_not_compare_where_others_ran_beside_some(make_run: MakeRun) -> None:
    rows = {"full": [trained(make_run, "full", None)], "tfidf": [trained(make_run, "tfidf", "4")]}
    assert tell_settings_apart(rows.values()) == ["1 at once", "4 at once"]
    assert "trainings at once" in " ".join(describe_unlike_settings(rows))


def test_a_row_of_seeds_that_ran_beside_different_numbers_has_no_mean_time(make_run: MakeRun) -> None:
    seeds = [trained(make_run, "full", at_once, seed=str(seed)) for seed, at_once in enumerate(("2", "4"))]
    assert build_table(seeds)["train_seconds"].isna().all() if "train_seconds" in build_table(seeds) else True
    said = list(describe_unlike_settings({"full": seeds}))
    assert "full: its seeds were trained in different settings (a GPU, bf16, batches of 32, 2 at once; " in said[0]


def test_rows_stand_as_planned_and_runs_by_seed_whichever_began_first(make_run: MakeRun) -> None:
    asked = [("lora", "10"), ("other", "1"), ("full", "9"), ("lora", "9"), ("full", "10")]
    runs = [trained(make_run, name, "2", seed=seed) for name, seed in asked]
    ordered = in_planned_order(["full", "lora"], runs)
    found = [(run.tags["strategy"], run.params["seed"]) for run in ordered]
    assert found == [("full", "9"), ("full", "10"), ("lora", "9"), ("lora", "10"), ("other", "1")]
    of_models = in_planned_order(["lora, minilm", "full, minilm"], runs)
    assert [run.tags["strategy"] for run in of_models] == ["lora", "lora", "full", "full", "other"]
