"""Pairs of texts from a file to the comparison: bi-encoder and cross-encoder side by side, and served."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from pipeline.config import CompareConfig, EvaluateConfig, PrepareDataConfig
from pipeline.errors import ConfigError, ModelError
from pipeline.stages import compare, evaluate, prepare_data
from pipeline.tracking.tags import Tag
from pipeline.training.setup import find_inputs

REFUSED = 2
WORDS = ("bland", "cheap", "dull", "fine", "great", "lovely", "sharp", "warm", "film", "plot", "scene", "story")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Pairs whose score is, by way of trial, five times the share of words that they have in common (synthetic)."""
    generator = np.random.default_rng(0)
    rows = []
    for row in range(240):
        first = generator.choice(WORDS, 6, replace=False)
        second = np.concatenate([first[: row % 7], generator.choice(WORDS, 6 - row % 7, replace=False)])
        shared = len({*first} & {*second}) / len({*first} | {*second})
        rows.append((" ".join(first), " ".join(second), round(5 * shared, 2), "same" if shared > 0.4 else "different"))
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    pd.DataFrame(rows, columns=["one", "two", "similarity", "verdict"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def scores(workspace, dataset):
    return {
        "dataset": dataset,
        "text_column": "one",
        "text_pair_column": "two",
        "label_type": "score",
        "max_eval_samples": 20,
    }


@pytest.fixture(scope="module")
def classes(scores):
    return {**scores, "label_type": "class", "label_column": "verdict"}


@pytest.fixture(scope="module")
def trained(workspace, scores):
    """A bi-encoder run and a cross-encoder on the same pairs."""
    runs = {name: workspace.train(objective=name, **scores) for name in ("bi_encoder", "classification")}
    for run_id in runs.values():
        workspace.evaluate(run_id)
    return runs


def test_prepared_pairs_are_described(workspace, scores, capsys):
    prepared, said = prepare(workspace, scores, capsys)
    assert "pairs.csv: train 192, validation 24, test 24 pairs of texts; scores 0.45 to 5." in said
    assert prepared.manifest.overlap["train/test"] == {"rows": 24, "pair": 0, "both_texts": 0, "either_text": 0}
    assert "overlaps" not in said


def test_pairs_of_test_with_a_text_of_train_are_said(workspace, scores, capsys, tmp_path):
    table = pd.read_csv(scores["dataset"])
    table["one"] = [*table["one"][:120], *table["one"][:120]]
    table.to_csv(tmp_path / "twice.csv", index=False)
    prepared, said = prepare(workspace, {**scores, "dataset": tmp_path / "twice.csv"}, capsys)
    train, test = prepared.read("train"), prepared.read("test")
    share = 100 * test["text"].isin(train["text"]).mean()
    assert 50 < share < 100
    assert (
        f"Test overlaps train: 0.0 % of the test pairs repeat a training pair, {share:.1f} % hold a text that stands in train."
    ) in said


def prepare(workspace, scores, capsys):
    """The prepared data, and what was said of them."""
    given = {name: value for name, value in scores.items() if name != "max_eval_samples"}
    prepared = prepare_data.run(workspace.config(PrepareDataConfig, model=workspace.options["model"], **given))
    return prepared, capsys.readouterr().out


def test_correlations_are_those_of_the_predictions_that_are_kept(workspace, trained, tmp_path):
    for name, run_id in trained.items():
        metrics = workspace.tracker.get(run_id).metrics
        assert {"val/spearman", "val/pearson", "val/loss", "test/spearman", "test/pearson"} <= set(metrics)
        assert "test/f1_macro" not in metrics
        table = pd.read_csv(workspace.tracker.download(run_id, "predictions.csv", tmp_path / name))
        assert list(table) == ["sentence", "sentence_pair", "gold", "pred", "score"]
        assert len(table) == 20
        assert metrics["test/spearman"] == pytest.approx(spearmanr(table["gold"], table["pred"]).statistic, abs=1e-3)
        assert workspace.tracker.download(run_id, "scores.png", tmp_path / name).stat().st_size > 1000


def test_both_stand_in_one_table(workspace, trained, tmp_path):
    given = CompareConfig(run_ids=tuple(trained.values()), export_dir=str(tmp_path / "exported"))
    table = compare.run(given).table
    assert len(table) == 2
    assert set(table["objective"]) == set(trained)
    assert table["spearman"].is_monotonic_decreasing
    assert "f1_macro" not in table
    files = sorted((tmp_path / "exported" / "results").glob("*_test_outputs.csv"))
    assert len(files) == 2
    assert list(pd.read_csv(files[0])) == ["sentence", "sentence_pair", "gold", "pred"]
    assert (tmp_path / "exported" / "results" / "spearman.png").exists()


def test_a_second_test_finds_the_scores_of_the_first(workspace, trained):
    assert all(workspace.evaluate(run_id).recorded for run_id in trained.values())


def test_scores_of_other_pairs_go_to_a_run_of_their_own(workspace, trained, dataset, tmp_path):
    other = tmp_path / "other.csv"
    pd.read_csv(dataset).iloc[::4].assign(one=lambda rows: rows["one"] + " again").to_csv(other, index=False)
    for run_id in trained.values():
        before = workspace.tracker.get(run_id)
        result = workspace.cli("evaluate", run_id=run_id, dataset=other)
        assert result.exit_code == 0, result.output
        assert "Test on 60 pairs of other.csv: spearman" in result.output
        assert "0 of them stand word for word" in result.output
        made = workspace.tracker.search({Tag.EVALUATES: run_id})[0]
        assert made.metrics["test/examples"] == 60
        assert -1 <= made.metrics["test/spearman"] <= 1
        assert workspace.tracker.get(run_id).metrics == before.metrics
    result = workspace.cli("evaluate", run_id=run_id, dataset=other, label_type="class")
    assert result.exit_code == REFUSED
    assert "--label-type class: the model was trained on scores of pairs of texts" in result.output


def test_of_scores_there_is_no_second_data_set_and_no_interval(workspace, trained, tmp_path, capsys):
    run_id = trained["bi_encoder"]
    with pytest.raises(ConfigError, match=r"--transfer-dataset rotten_tomatoes: .* has scores of pairs of texts"):
        evaluate.run(workspace.config(EvaluateConfig, run_id=run_id, transfer_dataset="rotten_tomatoes"))
    compare.run(CompareConfig(run_ids=tuple(trained.values()), export_dir=str(tmp_path)))
    assert "Tests and groups are of classes" in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "results").iterdir()}
    assert {"report.html", "training_curves.png", "spearman.png"} <= written
    assert not {"comparisons.csv", "hardest_examples.csv", "pareto.csv"} & written
    assert "Tests and groups are of classes" in (tmp_path / "results" / "report.html").read_text()


def test_the_logged_model_answers_two_columns(workspace, trained, tmp_path):
    import mlflow

    for name, run_id in trained.items():
        table = pd.read_csv(workspace.tracker.download(run_id, "predictions.csv", tmp_path / name))
        served = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
        pairs = pd.DataFrame({"text_pair": table["sentence_pair"], "text": table["sentence"]})
        found = served.predict(pairs)
        assert list(found) == ["label", "score", "tokens_cut"]
        np.testing.assert_allclose(found["label"], table["pred"], atol=1e-4)


def test_two_classes_are_told_apart_by_a_threshold_that_validation_chose(workspace, classes, tmp_path):
    run_id = workspace.train(objective="bi_encoder", strategy="partial", **classes)
    test = workspace.evaluate(run_id).test
    assert {"accuracy", "f1_macro", "mcc"} <= set(test)
    assert {"auroc", "average_precision", "nll"}.isdisjoint(test), "a cosine is no probability"
    threshold = workspace.tracker.get(run_id).metrics["val/threshold"]
    table = pd.read_csv(workspace.tracker.download(run_id, "predictions.csv", tmp_path))
    assert list(table) == ["sentence", "sentence_pair", "gold", "pred", "score"]
    assert ((table["score"] >= threshold) == (table["pred"] == "same")).all()
    lengths = pd.read_csv(workspace.tracker.download(run_id, "per_length.csv", tmp_path))
    assert lengths["texts"].sum() == len(table)
    assert lengths["max_words"].max() == 12  # of both texts
    assert not workspace.tracker.has_artifact(run_id, "reliability.png")
    assert "test/ece" not in workspace.tracker.get(run_id).metrics
    folder = workspace.tracker.download_model(run_id, tmp_path)
    again = {"model": str(folder), **{name: value for name, value in classes.items() if name != "dataset"}}
    external = evaluate.run(EvaluateConfig(dataset=str(classes["dataset"]), **again))
    assert external.test == pytest.approx(test)
    with pytest.raises(ModelError, match=r"was trained on 2 classes of pairs of texts, but .* has 2 classes of single texts"):
        evaluate.run(EvaluateConfig(dataset=str(classes["dataset"]), **{**again, "text_pair_column": None}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "bi_encoderr"}, "--objective: Unknown objective 'bi_encoderr'. Did you mean 'bi_encoder'?"),
        ({"objective": "bi_encoder", "text_pair_column": ""}, "Name the column of the second with --text-pair-column"),
        ({"objective": "bi_encoder", "strategy": "head_only"}, "--strategy head_only: trains the head alone, and"),
        ({"objective": "bi_encoder", "strategy": "linear_probe"}, "--strategy linear_probe: trains the head alone, and"),
        ({"strategy": "linear_probe"}, "--strategy linear_probe: solves for a classifier with an output per class"),
        ({"objective": "bi_encoder", "head": "mean"}, "--head mean: --objective bi_encoder puts no head of that kind"),
        ({"metric_for_best_model": "accuracy"}, "--metric-for-best-model accuracy: is not measured of scores of pairs"),
        (
            {"label_type": "class", "label_column": "verdict", "metric_for_best_model": "spearman"},
            "is not measured of 2 classes",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_a_run_is_made(workspace, scores, options, message):
    given = {name: value for name, value in {**scores, **options}.items() if value != ""}
    with pytest.raises(ConfigError) as caught:
        find_inputs(workspace.config(**given))
    assert message in str(caught.value)


def test_two_classes_by_cosine_and_by_cross_encoder_are_tested_against_each_other(workspace, classes, trained, tmp_path):
    runs = [workspace.train(objective=name, strategy="partial", **classes) for name in ("bi_encoder", "classification")]
    for run_id in runs:
        workspace.evaluate(run_id)
    assert workspace.tracker.has_artifact(runs[1], "reliability.png")
    found = compare.run(CompareConfig(run_ids=tuple(runs), export_dir=str(tmp_path)))
    assert len(found.statistics.pairs) == 1
    assert not found.statistics.missing
    assert {row.name for row in found.statistics.rows} == {"partial, bi_encoder", "partial, classification"}
    hardest = pd.read_csv(tmp_path / "results" / "hardest_examples.csv")
    assert list(hardest)[:3] == ["sentence", "sentence_pair", "gold"]
    compare.run(CompareConfig(run_ids=tuple(trained.values()), export_dir=str(tmp_path)))
    of_scores = {path.name for path in (tmp_path / "results").iterdir()}
    of_classes = {"comparisons.csv", "confusions.csv", "hardest_examples.csv", "f1.png", "pareto.csv", "per_class.csv"}
    of_classes |= {"per_length.csv", "reliability.csv", "pareto.png", "partial_test_outputs.csv"}
    assert not of_classes & of_scores
    assert "spearman.png" in of_scores
