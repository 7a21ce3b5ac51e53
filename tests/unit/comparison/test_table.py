from collections.abc import Callable

import pytest

from pipeline.comparison.row_names import label_rows
from pipeline.comparison.table import MEASURES, build_table, render_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def test_a_row_per_strategy_and_arguments_the_best_first(make_run: MakeRun) -> None:
    runs = [
        make_run("full", 0.8),
        make_run("partial", 0.7, '{"top_k": 2}'),
        make_run("partial", 0.9, '{"top_k": 4}'),
    ]
    table = build_table(runs)
    assert table[["strategy", "arguments", "f1_macro"]].to_numpy().tolist() == [
        ["partial", "top_k=4", 0.9],
        ["full", "", 0.8],
        ["partial", "top_k=2", 0.7],
    ]
    assert table["run_ids"].tolist() == [runs[2].run_id, runs[0].run_id, runs[1].run_id]


@pytest.mark.parametrize("seed", ["seed", "data_seed", "init_seed", "dropout_seed"])
def test_runs_that_differ_in_a_seed_only_are_averaged(make_run: MakeRun, seed: str) -> None:
    first = make_run(f1=0.7, params={seed: "1"}, metrics={"cost/train_seconds": 10})
    second = make_run(f1=0.9, params={seed: "2"})
    [row] = build_table([first, second]).to_dict("records")
    assert row["f1_macro"] == pytest.approx(0.8)
    assert row["train_seconds"] == 10, "a run that lacks a measure does not count for it"
    assert row["seeds"] == 2
    assert row["run_ids"] == f"{first.run_id} {second.run_id}"


def test_runs_with_other_hyperparameters_are_never_averaged(make_run: MakeRun) -> None:
    table = build_table([make_run(params={"learning_rate": "1e-4"}), make_run(params={"learning_rate": "2e-5"})])
    assert sorted(table["learning_rate"]) == ["0.0001", "2e-05"]
    assert table["seeds"].tolist() == [1, 1]


def test_a_strategy_without_an_optimizer_shows_no_rate(make_run: MakeRun) -> None:
    runs = [make_run(name, params={"learning_rate": "1e-4"}) for name in ("linear_probe", "full", "a_plug_in_that_is_gone")]
    table = build_table(runs).set_index("strategy")
    assert table["learning_rate"].to_dict() == {"linear_probe": "", "full": "0.0001", "a_plug_in_that_is_gone": "0.0001"}


@pytest.mark.parametrize(
    "differs",
    [
        {"tags": {"settings_hash": "other"}},
        {"params": {"compute_dtype": "bfloat16"}},
        {"tags": {"tuned_trials": "12"}},
        {"tags": {"num_processes": "2"}},
    ],
    ids=["settings", "precision", "tuning", "processes"],
)
def test_each_part_of_what_makes_repetitions_keeps_rows_apart(make_run: MakeRun, differs: dict[str, dict[str, str]]) -> None:
    same = {"compute_dtype": "float32"}
    runs = [make_run(params=same), make_run(params={**same, "seed": "1"})]
    other = make_run(tags=differs.get("tags"), params={**same, **differs.get("params", {})})
    rows = build_table([*runs, other])
    assert sorted(rows["run_ids"]) == sorted([f"{runs[0].run_id} {runs[1].run_id}", other.run_id])


def test_seeds_with_and_without_kept_outputs_of_frozen_layers_stand_in_one_row(make_run: MakeRun) -> None:
    for_tags = enumerate(("built", "found", "unused"))
    runs = [make_run(params={"seed": str(seed)}, tags={"frozen_prefix_cache": use}) for seed, use in for_tags]
    assert build_table(runs)["seeds"].tolist() == [3]


def test_each_measure_is_read_from_its_metric_and_one_that_no_run_has_is_no_column(make_run: MakeRun) -> None:
    values = {metric: float(number) for number, metric in enumerate(MEASURES.values(), start=1)}
    [full] = build_table([make_run(metrics=values)]).to_dict("records")
    assert {column: full[column] for column in MEASURES} == {column: values[metric] for column, metric in MEASURES.items()}
    del values["cost/peak_cuda_mb"]
    assert "peak_cuda_mb" not in build_table([make_run(metrics=values)])


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"compute_dtype": "bfloat16"}, ["full, fp32", "full, bf16"]),
        ({"max_train_samples": "200"}, ["full on all examples", "full on 200 examples"]),
        ({"epochs": "3"}, ["full for 2 epochs", "full for 3 epochs"]),
        ({"batch_size": "64"}, ["full, batches of 32", "full, batches of 64"]),
        ({"model": "bert"}, ["full, minilm", "full, bert"]),
        ({"optimizer": "adafactor"}, ["full, adamw", "full, adafactor"]),
        ({"lr_scheduler_type": "cosine"}, ["full, linear schedule", "full, cosine schedule"]),
        ({"learning_rate": "3e-5", "epochs": "3"}, ["full at 2e-05", "full at 3e-05"]),
        ({"no_option_that_is_known": "1"}, ["full #1", "full #2"]),
    ],
)
def test_rows_of_one_name_are_told_apart_by_what_differs(make_run: MakeRun, params: dict[str, str], names: list[str]) -> None:
    usual = {"compute_dtype": "float32", "epochs": "2", "batch_size": "32", "model": "minilm"}
    table = build_table(
        [make_run("full", 0.8, params=usual), make_run("full", 0.7, params=usual | params), make_run("lora", 0.6)]
    )
    assert label_rows(table) == [*names, "lora"]


def test_a_choice_is_shown_where_rows_chose_differently(make_run: MakeRun) -> None:
    runs = [make_run("full", params={"epochs": "2"}), make_run("lora", params={"epochs": "3", "max_train_samples": "9"})]
    heading = render_table(build_table(runs)).splitlines()[0]
    assert "epochs" in heading
    assert "trained on" in heading
    alike = build_table([make_run("full", params={"epochs": "2"}), make_run("lora", params={"epochs": "2"})])
    assert "epochs" not in render_table(alike)
    assert alike["epochs"].tolist() == ["2", "2"]
    assert "max_train_samples" not in alike


def test_a_choice_is_what_was_meant_and_not_how_it_was_typed(make_run: MakeRun) -> None:
    typed = {"label_smoothing": "0", "class_weights": " none", "weight_decay": "1e-2", "train_size": "all", "epochs": "02"}
    logged = {"weight_decay": "0.01", "epochs": "2", "max_train_samples": "5000"}
    runs = [make_run("full", params=typed), make_run("lora", params=logged, metrics={"data/rows_train": 3200.0})]
    table = build_table(runs)
    assert not {"label_smoothing", "class_weights", "train_size", "max_train_samples"} & set(table)
    assert (table["weight_decay"].tolist(), table["epochs"].tolist()) == (["0.01"] * 2, ["2"] * 2)
    heading = render_table(table).splitlines()[0]
    assert not any(name in heading for name in ("decay", "epochs", "smoothing"))
    smoothed = build_table([*runs, make_run("ia3", params={"label_smoothing": ".1"})])
    assert sorted(smoothed["label_smoothing"]) == ["", "", "0.1"]


def test_the_table_says_what_was_tuned(make_run: MakeRun) -> None:
    table = build_table([make_run("full", 0.9, tags={"tuned_trials": "12"}), make_run("lora", 0.8)])
    assert table["tuned"].tolist() == ["12 trials", "untuned"]


def test_the_rendered_table_has_headings_rounded_figures_and_blanks(make_run: MakeRun) -> None:
    runs = [
        make_run("full", 0.81234, metrics={"cost/peak_rss_mb": 812.6}),
        make_run("lora", 0.9, metrics={"model/trainable_percent": 1.214659}),
    ]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in render_table(build_table(runs), "github").splitlines()
    ]
    assert rows[0] == ["strategy", "rate", "trainable %", "accuracy", "macro F1", "RSS MB", "seeds", "tuned"]
    assert rows[2:] == [
        ["lora", "2e-05", "1.215", "0.9000", "0.9000", "", "1", "untuned"],
        ["full", "2e-05", "100", "0.8123", "0.8123", "813", "1", "untuned"],
    ]


def test_arguments_are_a_column_where_some_run_has_them(make_run: MakeRun) -> None:
    table = build_table([make_run("full"), make_run("partial", arguments='{"top_k": 2}')])
    text = render_table(table)
    assert "arguments" in text
    assert "top_k=2" in text


def test_only_arguments_that_differ_from_the_defaults_are_shown_and_all_are_kept(make_run: MakeRun) -> None:
    usual, other = '{"r": 8, "alpha": 16.0}', '{"r": 4, "alpha": 16.0}'
    table = build_table(
        [make_run("rslora", arguments=usual), make_run("rslora", 0.7, arguments=other), make_run("gone", 0.6, other)]
    )
    assert table["arguments"].tolist() == ["r=8,alpha=16.0", "r=4,alpha=16.0", "r=4,alpha=16.0"]
    assert table["changed_arguments"].tolist() == ["", "r=4", "r=4,alpha=16.0"], "defaults of an unknown strategy are unknown"


def test_an_entry_stands_beside_its_strategy(make_run: MakeRun) -> None:
    table = build_table([make_run("freeze_bottom", tags={"entry": "freeze_6"}), make_run("full", 0.7)])
    assert table["strategy"].tolist() == ["freeze_bottom", "full"]
    assert table["entry"].tolist() == ["freeze_6", ""]
    assert render_table(table).startswith("entry")
    assert "entry" not in render_table(table[1:])


def test_what_texts_lose_is_shown_where_it_is_more_than_next_to_nothing_and_older_runs_lack_it(make_run: MakeRun) -> None:
    cut = {"data/texts_cut_percent": 43.75, "data/tokens_cut_percent": 7.5, "data/unknown_tokens_percent": 0.2}
    table = build_table([make_run("full", 0.9, metrics=cut), make_run("lora", 0.8)])
    shown = render_table(table).splitlines()
    assert "texts cut %" in shown[0]
    assert "tokens cut %" in shown[0]
    assert "unknown" not in shown[0]
    assert "43.8" in shown[2]
    assert table["unknown_tokens_percent"].tolist() == [0.2, pytest.approx(float("nan"), nan_ok=True)]
    little = build_table([make_run("full", metrics=dict.fromkeys(cut, 0.4)), make_run("lora")])
    assert "cut" not in render_table(little)
    assert set(build_table([make_run("full")])) & {"texts_cut_percent", "unknown_tokens_percent"} == set()
