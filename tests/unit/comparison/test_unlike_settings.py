"""Times and memory of other hardware, precision, batch size or processes are not mixed in a mean, a table or a picture."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import pytest

from pipeline.comparison.conclusions.caveats import list_caveats
from pipeline.comparison.pareto import draw_pareto, find_points, tabulate_points
from pipeline.comparison.plots import draw_all
from pipeline.comparison.row_names import label_rows
from pipeline.comparison.selection import select_runs
from pipeline.comparison.statistics import RowStatistics, Statistics
from pipeline.comparison.table import build_table, render_table
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
make_row = partial(RowStatistics, metric=F1)
make_statistics = partial(Statistics, metric=F1)
COSTS = {"cost/train_seconds": 10.0, "cost/cache_seconds": 1.0, "cost/peak_rss_mb": 100.0, "cost/artifact_mb": 2.0}
METRICS = {**COSTS, "train/loss_mean": 0.5, "model/trainable_params": 10.0}
MACHINE = {"hardware": "X, 2 threads"}
PARAMS = {"compute_dtype": "float32", "batch_size": "32"}
SAID = "Times and memory compare within one setting only"


def unsure(table: pd.DataFrame) -> Statistics:
    rows = tuple(
        make_row(name, 1, 0, {"f1_macro": Interval(f1, f1, f1)})
        for name, f1 in zip(label_rows(table), table["f1_macro"], strict=True)
    )
    return make_statistics(rows, (), 100, 100, {})


def test_a_row_of_two_machines_has_no_mean_time_and_no_point_and_this_is_said(make_run: MakeRun) -> None:
    machines = [MACHINE, MACHINE, {"hardware": "Y"}]
    runs = [
        make_run("lora", 0.8, metrics=METRICS, tags=tags, params={**PARAMS, "seed": str(seed)})
        for seed, tags in enumerate(machines)
    ]
    runs += [make_run("full", 0.7, metrics=METRICS, tags=MACHINE, params={**PARAMS, "seed": seed}) for seed in "01"]
    selection = select_runs(runs)
    table = build_table(runs)
    rows = table.set_index("strategy")
    assert rows["train_seconds"].fillna(-1).to_dict() == {"lora": -1, "full": 10}
    assert rows["peak_rss_mb"].fillna(-1).to_dict() == {"lora": -1, "full": 100}
    assert rows["artifact_mb"].to_dict() == {"lora": 2, "full": 2}, "the same on any machine"
    assert rows["setting"].to_dict() == {"lora": "X, 2 threads / Y", "full": "X, 2 threads"}
    found = tabulate_points(find_points(table, runs, unsure(table)), unsure(table)).groupby("cost")["row"].agg(list)
    assert (found["seconds"], found["peak_rss_mb"], found["artifact_mb"]) == (["full"], ["full"], ["lora", "full"])
    said = "\n".join(list_caveats(table, selection))
    assert "lora: its seeds were trained in different settings (X, 2 threads, fp32, batches of 32; Y, fp32, b" in said
    memory, seconds = draw_all(table)["cost"].axes
    assert [text.get_text() for text in seconds.texts] == ["11"]
    assert [label.get_text() for label in memory.get_yticklabels()] == ["lora\nX, 2 threads / Y", "full\nX, 2 threads"]
    alone = build_table(runs[:3])
    assert "train_seconds" not in alone
    assert "cost" not in draw_all(alone)


@pytest.mark.parametrize(
    ("differs", "setting"),
    [
        ({"tags": {"hardware": "Y"}}, ("X, 2 threads", "Y")),
        ({"params": {"compute_dtype": "bfloat16"}}, ("fp32", "bf16")),
        ({"params": {"batch_size": "64"}}, ("batches of 32", "batches of 64")),
        ({"params": {"gradient_accumulation_steps": "4"}}, ("batches of 32", "batches of 32 in 4 pieces")),
        ({"metrics": {"cost/micro_batch": 4.0}}, ("batches of 32", "batches of 32, 4 at a time")),
        ({"params": {"gradient_checkpointing": "True"}}, ("no gradient checkpointing", "gradient checkpointing")),
        ({"params": {"gradient_checkpointing": "true"}}, ("no gradient checkpointing", "gradient checkpointing")),
        ({"tags": {"num_processes": "2"}}, ("1 process", "2 processes")),
        ({"params": {"acceleration": "['off']"}}, ("accelerated", "acceleration off")),
        ({}, None),
        *(
            ({"params": typed}, None)  # as `mlflow run -P` logs a default
            for typed in (
                {"gradient_checkpointing": "false"},
                {"acceleration": "auto"},
                {"gradient_accumulation_steps": "1"},
                {"batch_size": "032"},
            )
        ),
    ],
)
def test_rows_of_other_settings_say_what_differs(
    make_run: MakeRun, differs: dict[str, dict[str, Any]], setting: tuple[str, str] | None
) -> None:
    runs = [
        make_run("lora", 0.8, metrics=METRICS, tags=MACHINE, params=PARAMS),
        make_run(
            "full",
            0.7,
            metrics=METRICS | differs.get("metrics", {}),
            tags=MACHINE | differs.get("tags", {}),
            params=PARAMS | differs.get("params", {}),
        ),
        make_run("external", 0.6, tags={"stage": "evaluate"}),
    ]
    table = build_table(runs)
    said = "\n".join(list_caveats(table, select_runs(runs)))
    if setting is None:
        assert "setting" not in table
        assert SAID not in said
    else:
        assert table["setting"].tolist() == [*setting, ""]
        assert "setting" in render_table(table).splitlines()[0]
        assert SAID in said
        [names, _] = draw_all(table)["cost"].axes
        assert [label.get_text() for label in names.get_yticklabels()][:2] == [f"lora\n{setting[0]}", f"full\n{setting[1]}"]
    assert table["train_seconds"].tolist()[:2] == [10, 10]


def test_rows_that_are_not_ranked_have_neither_front_nor_dominated_points(make_run: MakeRun) -> None:
    runs = [make_run(name, f1, metrics=METRICS) for name, f1 in (("lora", 0.8), ("full", 0.7))]
    table = build_table(runs)
    points = find_points(table, runs, unsure(table), ranked=False)
    frame = tabulate_points(points, unsure(table))
    assert frame["on_front"].isna().all()
    assert (frame["dominated_by"] == "").all()
    assert "hollow" not in draw_pareto(points, unsure(table)).get_suptitle()
    ranked = find_points(table, runs, unsure(table))
    assert tabulate_points(ranked, unsure(table))["on_front"].tolist() == [True, False] * len(ranked)
    assert "hollow" in draw_pareto(ranked, unsure(table)).get_suptitle()
