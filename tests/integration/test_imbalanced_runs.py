"""A rare class from the file to the service: warned of, weighted, told apart by a threshold, ranked by what it needs."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score

from pipeline.config import CompareConfig
from pipeline.stages import compare
from pipeline.training.setup import find_inputs

REFUSED = 2
RARE = {
    "strategy": "head_only",
    "class_weights": "balanced",
    "loss": "focal",
    "decision_threshold": "f1",
    "metric_for_best_model": "average_precision",
}


@pytest.fixture(scope="module")
def dataset(tiny, tmp_path_factory):
    """Reviews of which one in fifteen is good."""
    table = pd.read_csv(tiny.csv(600))
    good = table[table["label"] == "good"].iloc[:21]
    path = tmp_path_factory.mktemp("rare") / "rare.csv"
    pd.concat([table[table["label"] == "bad"], good]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def runs(workspace, dataset):
    """A plain head, and one that does what it can."""
    ids = {
        name: workspace.train(dataset=dataset, split_ratios="0.5,0.25,0.25", **options)
        for name, options in (("plain", {"strategy": "head_only"}), ("rare", RARE))
    }
    for run_id in ids.values():
        workspace.evaluate(run_id)
    return {name: workspace.tracker.get(run_id) for name, run_id in ids.items()}


def predictions(workspace, run, tmp_path):
    return pd.read_csv(workspace.tracker.download(run.run_id, "predictions.csv", tmp_path))


def test_it_is_warned_of_with_what_to_try(workspace, dataset):
    result = workspace.cli("prepare_data", model=workspace.options["model"], dataset=dataset)
    assert "93.4 % of train (240 of 257) is of class bad: who always answers that is right as often" in result.output
    assert "Try --class-weights balanced, or --decision-threshold f1" in result.output
    even = workspace.cli("prepare_data", model=workspace.options["model"], dataset=workspace.options["dataset"])
    assert "is of class" not in even.output


def test_the_threshold_of_the_kept_checkpoint_decides_in_the_test_and_in_the_service(workspace, runs, tmp_path):
    import mlflow

    threshold = runs["rare"].metrics["val/threshold"]
    assert "val/threshold" not in runs["plain"].metrics
    table = predictions(workspace, runs["rare"], tmp_path)
    clear = (table["score_good"] - threshold).abs() > 1e-6
    said = np.where(table["score_good"] >= threshold, "good", "bad")
    assert (said == table["pred"])[clear].all()
    assert (table["score_good"] >= 0.5).sum() != (said == "good").sum(), "one half would decide otherwise"
    expected = f1_score(table["gold"], table["pred"], average="macro")
    assert runs["rare"].metrics["test/f1_macro"] == pytest.approx(expected)
    model = mlflow.pyfunc.load_model(f"runs:/{runs['rare'].run_id}/model")
    answers = model.predict(pd.DataFrame({"text": table["sentence"]}))
    assert answers["label"].tolist() == table["pred"].tolist()


def test_scores_of_rare_classes_are_on_runs_and_have_intervals(workspace, runs, tmp_path):
    for run in runs.values():
        table = predictions(workspace, run, tmp_path)
        gold = np.stack([table["gold"] == name for name in ("bad", "good")], axis=1)
        expected = average_precision_score(gold, table[["score_bad", "score_good"]], average="macro")
        assert run.metrics["test/average_precision"] == pytest.approx(expected, abs=1e-3)
    ids = tuple(run.run_id for run in runs.values())
    result = compare.run(CompareConfig(run_ids=ids))
    table = result.table
    for name in ("average_precision", "auroc", "nll", "mcc"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    assert set(table["class_weights"]) == {"", "balanced"}
    assert set(table["loss"]) == {"", "focal"}
    shown = workspace.tracker.download(result.run_id, "results.md", tmp_path).read_text()
    assert "average precision" in shown
    assert "head_only, focal" in shown


def test_heads_of_a_search_train_by_the_same_loss_and_have_thresholds(workspace, dataset):
    given = {name: value for name, value in workspace.options.items() if name != "learning_rate"}
    result = workspace.cli("tune", **given | {"dataset": dataset}, **RARE, trials=2, executor="batched")
    assert result.exit_code == 0, result.output
    trials = workspace.client.search_runs(
        [workspace.client.get_experiment_by_name("fairtune").experiment_id], "tags.stage = 'trial' and params.loss = 'focal'"
    )
    thresholds = [run.data.metrics["val/threshold"] for run in trials if "val/threshold" in run.data.metrics]
    assert thresholds
    assert all(0 < threshold < 1 for threshold in thresholds)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": "good:2,fine:1"}, "--class-weights fine:1,good:2: fine is not among the classes bad, good"),
        ({"loss": "focal", "strategy": "linear_probe"}, "--strategy linear_probe: solves for cross-entropy"),
        ({"loss": "hinge"}, "--loss: Unknown loss 'hinge'"),
        ({"decision_threshold": "2"}, "--decision-threshold: got '2'. Give argmax, f1, or a probability"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run(workspace, dataset, options, message):
    before = len(workspace.tracker.search())
    result = workspace.cli("train", **workspace.options | {"dataset": dataset} | options)
    assert result.exit_code == REFUSED
    assert message in result.output
    assert len(workspace.tracker.search()) == before


def test_older_runs_are_known_again(workspace, dataset):
    plain = find_inputs(workspace.config(dataset=dataset, strategy="head_only"))
    same = find_inputs(workspace.config(dataset=dataset, strategy="head_only", class_weights="none", label_smoothing=0))
    other = find_inputs(workspace.config(dataset=dataset, strategy="head_only", label_smoothing=0.1))
    assert plain.identity == same.identity != other.identity


def test_rows_are_ranked_by_what_is_asked_for(workspace, runs, tmp_path):
    ids = ",".join(run.run_id for run in runs.values())
    asked = workspace.cli("compare", run_ids=ids, ranking_metric="nll", export_dir=tmp_path)
    assert asked.exit_code == 0, asked.output
    table = pd.read_csv(tmp_path / "results" / "model_summary.csv")
    assert table["run_ids"].tolist() == sorted(ids.split(","), key=lambda run_id: runs_by_id(runs)[run_id].metrics["test/nll"])
    assert "Rows are compared by NLL (lower is better), as --ranking-metric says, in place of macro F1." in asked.output
    assert "cannot be told apart by NLL" in asked.output
    assert (tmp_path / "results" / "nll.png").exists()
    assert "test negative log-likelihood, lower is better" in (tmp_path / "results" / "report.html").read_text()
    [pair] = pd.read_csv(tmp_path / "results" / "comparisons.csv").to_dict("records")
    assert pair["nll_difference"] == pytest.approx(table["nll"][0] - table["nll"][1], abs=1e-3)
    refused = workspace.cli("compare", run_ids=ids, ranking_metric="spearman")
    assert refused.exit_code == REFUSED
    assert "--ranking-metric spearman: classes are not ranked by it. Choose accuracy, " in refused.output


def runs_by_id(runs):
    return {run.run_id: run for run in runs.values()}
