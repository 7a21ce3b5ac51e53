from collections.abc import Callable

import pandas as pd

from pipeline.comparison.row_names import label_rows
from pipeline.comparison.table import build_table, render_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def test_rows_are_told_apart_by_arguments_then_rate_then_number() -> None:
    table = pd.DataFrame(
        {
            "strategy": ["full", "lora", "lora", "lora", "lora"],
            "changed_arguments": ["", "r=4", "r=8", "r=8", "r=8"],
            "learning_rate": ["1", "1", "2", "3", "3"],
        }
    )
    assert label_rows(table) == ["full", "lora (r=4)", "lora (r=8) at 2", "lora (r=8) at 3 #1", "lora (r=8) at 3 #2"]


def test_rows_of_one_strategy_are_told_apart_by_their_objective(make_run: MakeRun) -> None:
    runs = [make_run("full", 0.9), make_run("full", 0.8, params={"objective": "bi_encoder"})]
    assert label_rows(build_table(runs)) == ["full, classification", "full, bi_encoder"]


def test_rows_by_other_numbers_of_processes_are_told_apart(make_run: MakeRun) -> None:
    table = build_table([make_run("full"), make_run("full", tags={"num_processes": "2"}), make_run("lora")])
    assert sorted(label_rows(table)) == ["full by 1 process(es)", "full by 2 process(es)", "lora"]
    assert "processes" in render_table(table)
    assert "processes" not in build_table([make_run("full")])


def test_bi_encoder_rows_are_told_apart_by_their_pooling(make_run: MakeRun) -> None:
    poolings = ("mean", "cls")
    runs = [make_run("full", params={"objective": "bi_encoder", "pooling": pooling}) for pooling in poolings]
    runs.append(make_run("lora", params={"objective": "classification", "pooling": "mean"}))
    table = build_table(runs)
    assert sorted(label_rows(table)) == ["full, cls", "full, mean", "lora"]
    assert sorted(table["pooling"]) == ["", "cls", "mean"], "to a classifier the option says nothing"
    assert "pooling" in render_table(table)
    assert "pooling" not in build_table(runs[2:])
