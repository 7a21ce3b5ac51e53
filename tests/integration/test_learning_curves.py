"""A study at several numbers of labelled texts: trained, tested, reused, compared within a size, and drawn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config import CompareConfig, MainConfig, TrainConfig
from pipeline.errors import ConfigError
from pipeline.stages import compare, main, train
from pipeline.tracking.tags import Tag
from pipeline.training.setup import find_inputs

pytestmark = pytest.mark.usefixtures("blank_pictures", "here")
SIZES = "8,16,32,all"


@pytest.fixture(scope="module")
def here(in_this_process):
    """Studies run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "WorkerProcesses", in_this_process)
        yield


@pytest.fixture(scope="module")
def study(workspace, here):
    """The run of a study, and the folder of what its comparison wrote."""
    options = workspace.options | {
        "strategies": "tfidf,head_only",
        "train_sizes": SIZES,
        "seeds": 2,
        "epochs": 1,
        "precision": "fp32",
        "export_dir": "curve",
    }
    result = main.run(workspace.config(MainConfig, **options))
    assert result is not None
    return result, Path("curve/results"), options


def trainings(workspace, study_id):
    return [run for run in workspace.tracker.search() if run.parent_id == study_id and run.stage == "train"]


def test_every_size_is_trained_and_tested_with_every_seed(workspace, study):
    runs = trainings(workspace, study[0].run_id)
    there = int(runs[0].metrics["data/rows_train"])
    sizes = {"8": 8, "16": 16, "32": 32, None: there}
    planned = {(strategy, size, seed) for strategy in ("tfidf", "head_only") for size in sizes for seed in ("42", "43")}
    assert {(run.tags["strategy"], run.params.get("train_size"), run.params["seed"]) for run in runs} == planned
    for run in runs:
        assert run.metrics["data/train_examples"] == sizes[run.params.get("train_size")]
        assert run.metrics["test/examples"] == runs[0].metrics["test/examples"]
        if run.tags["strategy"] == "head_only":
            assert run.metrics["train/steps_per_epoch"] == np.ceil(there / 16), "as many steps as the largest size"
            seed_counts = "train_size" in run.params  # else all seeds have the same texts, of which the first computes states
            built_anew = run.tags[Tag.FROZEN_PREFIX_CACHE] == "built"
            assert built_anew or not seed_counts, "which sizes were trained before must not change a bit of the result"


def test_the_curve_is_written(workspace, study):
    result, folder, _ = study
    curve = pd.read_csv(folder / "learning_curve.csv")
    assert curve.groupby("row")["train_size"].apply(list).to_dict() == dict.fromkeys(("head_only", "tfidf"), SIZES.split(","))
    summary = pd.read_csv(folder / "model_summary.csv", dtype={"train_size": str}).set_index(["strategy", "train_size"])
    for _, line in curve.iterrows():
        row = summary.loc[(line["strategy"], str(line["train_size"]))]
        assert line["test_score"] == pytest.approx(row["f1_macro"])
        assert line["test_low"] <= line["test_score"] <= line["test_high"]
        runs = [workspace.tracker.get(run_id) for run_id in line["run_ids"].split()]
        assert line["validation_score"] == pytest.approx(np.mean([run.metrics["val/f1_macro"] for run in runs]))
    pairs = pd.read_csv(folder / "comparisons.csv", dtype={"train_size": str})
    assert list(pairs["train_size"]) == SIZES.split(",")
    assert (folder / "learning_curve.png").is_file()
    for file in ("results.md", "report.html"):
        text = (folder / file).read_text()
        assert text.index("How many labels") < text.index("Results of")
        assert "Measured at 8, 16, 32 and " in text
    assert len(list(Path("curve/models").iterdir())) == 16
    parent = workspace.tracker.get(result.run_id)
    largest = curve[(curve["row"] == "tfidf") & (curve["train_size"] == "all")].iloc[0]
    assert parent.metrics["curve/tfidf/f1_macro"] == pytest.approx(largest["test_score"])
    history = workspace.client.get_metric_history(result.run_id, "curve/tfidf/f1_macro")
    assert [point.step for point in history] == curve[curve["row"] == "tfidf"]["train_texts"].tolist()


def test_again_everything_is_reused_and_all_is_the_usual_study(workspace, study):
    _, _, options = study
    before = {run.run_id for run in workspace.tracker.search() if run.stage == "train"}
    main.run(workspace.config(MainConfig, **options))
    alone = main.run(workspace.config(MainConfig, **(options | {"train_sizes": "all"})))
    usual = main.run(workspace.config(MainConfig, **{name: value for name, value in options.items() if name != "train_sizes"}))
    assert {run.run_id for run in workspace.tracker.search() if run.stage == "train"} == before
    pd.testing.assert_frame_equal(alone.comparison.table, usual.comparison.table)
    assert "train_size" not in usual.comparison.table


def test_a_comparison_of_all_runs_keeps_sizes_apart(study, workspace):
    found = compare.run(CompareConfig(run_ids=tuple(run.run_id for run in trainings(workspace, study[0].run_id))))
    assert len(found.table) == 2, "of the largest size"


def test_a_training_of_few_texts_repeats_them_in_each_epoch(workspace):
    options = {"strategy": "full", "train_size": 12, "epoch_size": 40, "epochs": 2, "batch_size": 8}
    run = workspace.tracker.get(workspace.train(**options))
    assert run.metrics["data/train_examples"] == 12
    assert run.metrics["train/steps_per_epoch"] == 5
    assert run.metrics["cost/examples"] == 80
    inputs = find_inputs(workspace.config(TrainConfig, **options))
    assert len(set(inputs.sample("train"))) == 12


def test_bad_sizes_are_refused_before_a_run_is_made(workspace):
    before = len(workspace.tracker.search())
    for options, message in (
        ({"train_sizes": "8,99999"}, "--train-sizes 8,99999: 99999 is more than the"),
        ({"train_sizes": "8,x"}, "--train-sizes: got '8,x'. Give whole numbers"),
        ({"hold": "epochs"}, "--hold epochs: says how trainings of several --train-sizes"),
    ):
        result = workspace.cli("main", **workspace.options_of_data(), **options)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
    with pytest.raises(ConfigError, match="--train-size 99999: is more than"):
        train.run(workspace.config(TrainConfig, strategy="full", train_size=99999))
    assert len(workspace.tracker.search()) == before
