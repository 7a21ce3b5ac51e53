"""Texts with any number of labels from a file to the comparison, the batched search and the service."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient
from tiny_encoders import BAD, GOOD, PLAIN

from pipeline.config import CompareConfig, EvaluateConfig, MainConfig, TrainConfig, TuneConfig
from pipeline.errors import ConfigError, ModelError
from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.stages import compare, evaluate, main, train, tune
from pipeline.stages.configure import configure
from pipeline.training.saved_model import load_model_folder, read_record

NAMES = {"bad": BAD, "good": GOOD, "plot": ("plot", "story", "scene")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Texts whose labels say which kinds of words stand in them; a quarter has none (synthetic)."""
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        words = list(generator.choice([word for word in PLAIN if word not in NAMES["plot"]], 3))
        given = [name for name, share in zip(NAMES, (0.4, 0.5, 0.3), strict=True) if generator.random() < share]
        words += [generator.choice(NAMES[name]) for name in given]
        rows.append({"text": " ".join(generator.permutation(words)), "labels": given})
    path = tmp_path_factory.mktemp("sets") / "sets.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def options(workspace, dataset):
    own = {"dataset": str(dataset), "label_type": "multi", "epochs": "6", "head": "mean", "batch_size": "8", "dropout": "0"}
    return {**workspace.options, **own}


@pytest.fixture(scope="module")
def trained(workspace, options):
    """Two strategies, trained and tested."""
    runs = {name: workspace.train(**{**options, "strategy": name}) for name in ("full", "head_only")}
    for run_id in runs.values():
        workspace.evaluate(run_id)
    return runs


def test_a_run_has_its_thresholds_and_both_scores(workspace, trained, tmp_path):
    run = workspace.tracker.get(trained["full"])
    assert {"val/f1_macro", "val/f1_macro_at_thresholds", "test/f1_macro", "test/f1_macro_at_half", "test/ece"} <= set(
        run.metrics
    )
    assert run.metrics["val/f1_macro_at_thresholds"] >= run.metrics["val/f1_macro"]
    assert run.metrics["val/auroc"] > 0.7, "it has learned"
    assert not [name for name in run.metrics if "threshold_" in name]
    folder = workspace.tracker.download_model(run.run_id, tmp_path)
    record, task = read_record(folder), load_model_folder(folder).task
    assert isinstance(task, MultiLabelTask)
    logged = pd.read_csv(workspace.tracker.download(run.run_id, "thresholds.csv", tmp_path))
    assert logged["label"].tolist() == list(NAMES) == record.classes
    assert logged["threshold"].tolist() == pytest.approx(task.thresholds)


def test_predictions_are_json_lists(workspace, trained, tmp_path):
    table = pd.read_csv(workspace.tracker.download(trained["full"], "predictions.csv", tmp_path))
    assert list(table) == ["sentence", "gold", "pred", *(f"score_{name}" for name in NAMES)]
    given = table["sentence"].map(lambda text: [name for name, words in NAMES.items() if set(words) & set(text.split())])
    assert table["gold"].map(json.loads).tolist() == given.tolist()
    thresholds = pd.read_csv(workspace.tracker.download(trained["full"], "thresholds.csv", tmp_path))["threshold"]
    said = [
        [name for name, at in zip(NAMES, thresholds, strict=True) if row[f"score_{name}"] >= at] for _, row in table.iterrows()
    ]
    assert table["pred"].map(json.loads).tolist() == said


@pytest.mark.usefixtures("blank_pictures")
def test_a_comparison_ranks_and_explains_them(workspace, trained, tmp_path):
    result = compare.run(CompareConfig(run_ids=tuple(trained.values())))
    tracker = workspace.tracker

    def read(name):
        return pd.read_csv(tracker.download(result.run_id, name, tmp_path))

    summary = read("model_summary.csv")
    assert summary["strategy"].tolist() == ["full", "head_only"]
    for metric in ("f1_macro", "f1_micro", "subset_accuracy", "hamming_loss"):
        assert (summary[f"{metric}_low"] <= summary[metric]).all()
        assert (summary[metric] <= summary[f"{metric}_high"]).all()
    assert summary["f1_macro_at_half"].notna().all()
    pairs = read("comparisons.csv")
    assert {"p_sign_test", "f1_micro_difference"} <= set(pairs)
    assert "p_mcnemar" not in pairs
    assert set(read("per_class.csv")["class"]) == set(NAMES)
    assert {"usual_mistake", "wrong_labels"} <= set(read("hardest_examples.csv"))
    assert "confusions.csv" not in [artifact.path for artifact in tracker.client.list_artifacts(result.run_id)]
    page = tracker.download(result.run_id, "report.html", tmp_path).read_text(encoding="utf-8")
    for said in ("F1 by label", "sign test p (Holm)", "F1 at 0.5", "mean probability", "labels, with the share"):
        assert said in page
    assert "Confusion matrices" not in page


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_baselines_stand_in_the_same_table(workspace, trained, options, tmp_path):
    data = {"dataset": options["dataset"], "label_type": "multi", "label_column": "labels"}
    runs = {name: train.run(configure(TrainConfig, {**data, "strategy": name})).run_id for name in ("tfidf", "majority")}
    for run_id in runs.values():
        workspace.evaluate(run_id)
    logged = pd.read_csv(workspace.tracker.download(runs["tfidf"], "thresholds.csv", tmp_path))
    assert logged["label"].tolist() == list(NAMES)
    result = compare.run(CompareConfig(run_ids=(trained["full"], *runs.values())))
    table = result.table.set_index("strategy")
    assert table.loc["tfidf", "f1_macro"] > table.loc["majority", "f1_macro"]
    verdict = workspace.tracker.download(result.run_id, "results.md", tmp_path).read_text(encoding="utf-8")
    assert "tfidf, which trains no encoder" in verdict
    served = mlflow.pyfunc.load_model(f"runs:/{runs['tfidf']}/model").predict(["a dull film", "it was"])
    assert served["label"].tolist() == [["bad"], []]
    with pytest.raises(ConfigError, match=r"--class-weights balanced: weighs texts by their one class"):
        train.run(configure(TrainConfig, {**data, "strategy": "tfidf", "class_weights": "balanced"}))


def test_it_is_served(trained):
    model = mlflow.pyfunc.load_model(f"runs:/{trained['full']}/model")
    client = TestClient(scoring_server.init(model))
    texts = ["a dull film", "the witty story", "it was"]
    answer = client.post("/invocations", json={"inputs": texts}).json()["predictions"]
    assert [row["label"] for row in answer] == model.predict(texts)["label"].tolist()
    assert all(isinstance(row["label"], list) and {f"score_{name}" for name in NAMES} <= set(row) for row in answer)


def test_a_run_is_scored_on_other_sets(workspace, trained, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("text,labels\na dull film,bad\nthe witty story,PLOT|good\nit was,\n", encoding="utf-8")
    config = workspace.config(EvaluateConfig, run_id=trained["full"], dataset=other, label_separator="|")
    result = evaluate.run(config)
    assert result.on == "3 texts of other.csv"
    assert "subset_accuracy" in result.test


def test_a_folder_is_tested_on_label_sets_alone(workspace, trained, options, tmp_path):
    folder = workspace.tracker.download_model(trained["full"], tmp_path)
    data = {"dataset": options["dataset"], "label_type": "multi"}
    result = evaluate.run(EvaluateConfig(model=str(folder), **data))
    assert result.test["f1_macro"] == pytest.approx(workspace.tracker.get(trained["full"]).metrics["test/f1_macro"])
    with pytest.raises(ModelError, match=r"was trained on any of 3 labels of single texts, but .* has 2 classes"):
        evaluate.run(EvaluateConfig(model=str(folder), dataset=workspace.options["dataset"]))


@pytest.mark.slow
def test_a_search_trains_heads_together(workspace, options):
    config = {name: value for name, value in options.items() if name != "learning_rate"} | {
        "strategy": "head_only",
        "epochs": "1",
    }
    result = tune.run(workspace.config(TuneConfig, **config, trials=3, executor="batched"))
    trials = [run for run in workspace.tracker.search() if run.stage == "trial"]
    assert len(trials) == 3
    assert all("val/f1_macro" in run.metrics for run in trials)
    assert workspace.tracker.get(result.run_id).status == "FINISHED"


@pytest.mark.usefixtures("blank_pictures")
def test_a_study_leaves_out_what_cannot_be(workspace, options):
    study = {name: value for name, value in options.items() if name != "precision"} | {"epochs": "1", "precision": "fp32"}
    with pytest.raises(ConfigError, match="a second data set is scored for classes of single texts"):
        main.run(workspace.config(MainConfig, **study, strategies="full", seeds=1, transfer_dataset=options["dataset"]))
    with pytest.raises(ConfigError, match="--strategy linear_probe: solves for a classifier that finds one class a text"):
        workspace.train(**{**options, "strategy": "linear_probe"})
