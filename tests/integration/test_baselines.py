"""Strategies without an encoder: trained, tuned, tested, reused, compared, reproduced and served as any other."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.config import CompareConfig, MainConfig, ReproduceConfig, TrainConfig, TuneConfig
from pipeline.config.stage import flag
from pipeline.errors import ConfigError, DamagedModelError
from pipeline.stages import compare, main, reproduce, train, tune
from pipeline.stages.configure import configure
from pipeline.stages.study.plan import plan_study
from pipeline.stages.study.resume import find_finished
from pipeline.tracking.tags import Tag
from pipeline.training.inference import TrainedModel
from pipeline.training.saved_model import check_model_folder, load_model_folder, read_record
from pipeline.training.setup import find_inputs

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def config(workspace):
    """The configuration of a stage on the workspace's data, with no option of an encoder."""

    def config(cls=TrainConfig, **options):
        given = {"dataset": workspace.options["dataset"], **options}
        return configure(cls, {name: str(value) for name, value in given.items()})

    return config


@pytest.fixture(scope="module")
def tfidf(workspace, config) -> str:
    """A run of tfidf that was tested."""
    result = train.run(config(strategy="tfidf", strategy_args="min_texts=1"))
    workspace.evaluate(result.run_id)
    return result.run_id


def test_a_run_holds_nothing_of_an_encoder(workspace, tfidf, tmp_path):
    run = workspace.tracker.get(tfidf)
    assert not [name for name in run.metrics if name.startswith("model/")]
    assert {"val/accuracy", "test/f1_macro", "test/ece", "cost/train_seconds", "cost/artifact_mb", "train/loss"} <= {
        *run.metrics
    }
    assert not {"model", "learning_rate", "epochs", "max_length", "compute_dtype", "head"} & {*run.params}
    assert {"dataset", "seed", "C", "min_texts", "metric_for_best_model"} <= {*run.params}
    assert Tag.BASE_SHA256 not in run.tags
    folder = workspace.tracker.download_model(tfidf, tmp_path)
    assert {file.name for file in folder.iterdir()} == {"model.json", "delta.safetensors", "terms.json", "checksums.json"}
    assert read_record(folder).base == ""
    table = pd.read_csv(workspace.tracker.download(tfidf, "parameters.csv", tmp_path))
    assert {"weight", "bias", "words.idf", "characters.idf"} == {*table["name"]}
    assert table["trains"].all()


def test_a_saved_model_predicts_as_the_run_did(workspace, tfidf, tmp_path):
    folder = workspace.tracker.download_model(tfidf, tmp_path / "model")
    model = load_model_folder(folder)
    assert isinstance(model, TrainedModel)
    tested = pd.read_csv(workspace.tracker.download(tfidf, "predictions.csv", tmp_path))
    probabilities = model.predict_texts(tested["sentence"].tolist())
    np.testing.assert_allclose(tested[[f"score_{name}" for name in model.classes]], probabilities, atol=1e-6)
    assert tested["pred"].astype(str).tolist() == [model.classes[best] for best in probabilities.argmax(1)]
    (folder / "terms.json").unlink()
    with pytest.raises(DamagedModelError, match=r"terms\.json is missing or damaged"):
        check_model_folder(folder)


def test_it_is_served_without_torch(workspace, tfidf, tmp_path):
    served = mlflow.pyfunc.load_model(mlflow.artifacts.download_artifacts(run_id=tfidf, artifact_path="model"))
    answer = served.predict(pd.DataFrame({"text": ["a lovely film", "dull"]}))
    assert list(answer.columns[:1]) == ["label"]
    assert (answer["tokens_cut"] == 0).all()
    needed = Path(mlflow.artifacts.download_artifacts(run_id=tfidf, artifact_path="model/requirements.txt")).read_text()
    assert "scikit-learn==" in needed
    assert "torch" not in needed


@pytest.mark.parametrize("beside", [{}, {"model": "another-model", "epochs": "9", "precision": "bf16", "head": "mean"}])
def test_it_is_found_again_whatever_encoder_stands_beside(workspace, config, tfidf, beside):
    found = find_finished(
        workspace.tracker, find_inputs(config(strategy="tfidf", strategy_args="min_texts=1", **beside)), "fp32"
    )
    assert found is not None
    assert found.run_id == tfidf
    other = find_inputs(config(strategy="tfidf", strategy_args="min_texts=2", **beside))
    assert find_finished(workspace.tracker, other, "fp32") is None


def test_it_is_made_again_equal(workspace, tfidf):
    assert reproduce.run(ReproduceConfig(run_id=tfidf)).reproduction.outcome == "equal"


@pytest.mark.slow
def test_a_search_tunes_it_and_majority_has_nothing_to_tune(workspace, config):
    result = tune.run(config(TuneConfig, strategy="tfidf", trials=2, strategy_args="min_texts=1"))
    assert result.trials == 2
    assert {"C", "word_ngrams", "char_ngrams"} <= {*workspace.tracker.get(result.best_run_id).params}
    assert "model" not in workspace.tracker.get(result.run_id).params
    assert workspace.evaluate(result.best_run_id).test["accuracy"] > 0
    with pytest.raises(ConfigError, match=r"--strategy majority: has nothing that a search could change\. Run train"):
        tune.run(config(TuneConfig, strategy="majority"))
    with pytest.raises(ConfigError, match="--space study: is of an encoder's options alone"):
        tune.run(config(TuneConfig, strategy="tfidf", space="study"))


@pytest.mark.parametrize("options", [{"learning_rate": "1e-3"}, {"model": "minilm", "head": "mean"}, {"num_processes": "2"}])
def test_options_of_an_encoder_are_refused_by_name(config, options):
    with pytest.raises(ConfigError, match="--strategy tfidf trains no encoder, so nothing would read that") as caught:
        train.run(config(strategy="tfidf", **options))
    assert all(flag(name) in str(caught.value) for name in options)


def test_of_several_models_a_baseline_is_planned_once_and_has_none(config, tiny):
    models = f"{tiny.folder()},{tiny.folder('distilbert')}"
    plan = plan_study(config(MainConfig, strategies="full,tfidf,majority", models=models))
    named = [plan.name(inputs) for inputs in plan.strategies]
    assert len(named) == 4
    assert {"tfidf", "majority"} < {*named}
    alone = plan_study(config(MainConfig, strategies="full,tfidf", model=tiny.folder()))
    assert [alone.name(inputs) for inputs in alone.strategies] == ["full", "tfidf"]


def test_rows_stand_in_one_table_with_encoders(workspace, config, tfidf):
    majority = train.run(config(strategy="majority")).run_id
    ids = [tfidf, majority, workspace.train(strategy="head_only", epochs=1)]
    for run_id in ids[1:]:
        workspace.evaluate(run_id)
    table = compare.run(CompareConfig(run_ids=tuple(ids))).table.set_index("strategy")
    assert {*table.index} == {"tfidf", "majority", "head_only"}
    assert (table.loc[["tfidf", "majority"], "learning_rate"] == "").all()
    assert table.loc[["tfidf", "majority"], "trainable_percent"].isna().all()
    assert table.loc["majority", "learned"] == "" if "learned" in table else True
    assert "setting" not in table


@pytest.mark.parametrize("strategy", ["tfidf", "majority"])
@pytest.mark.parametrize(("label_type", "column", "ranks"), [("score", "score", "spearman"), ("class", "label", "f1_macro")])
def test_pairs_and_scores_are_learned_too(workspace, config, tmp_path, strategy, label_type, column, ranks):
    generator = np.random.default_rng(0)
    words = ("fine", "dull", "warm", "cheap", "film", "plot")
    rows = [[" ".join(generator.choice(words, 4)) for _ in range(2)] for _ in range(300)]
    score = [sum(word in ("fine", "warm") for word in " ".join(row).split()) + place / 1000 for place, row in enumerate(rows)]
    frame = pd.DataFrame(rows, columns=["one", "two"]).assign(score=score, label=[str(value >= 3) for value in score])
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    columns = {"text_column": "one", "text_pair_column": "two", "label_column": column, "label_type": label_type}
    run_id = train.run(config(strategy=strategy, **{**columns, "dataset": tmp_path / "pairs.csv"})).run_id
    test = workspace.evaluate(run_id).test
    assert test[ranks] > 0.5 if strategy == "tfidf" else ranks in test
    model = load_model_folder(workspace.tracker.download_model(run_id, tmp_path / "model"))
    assert len(model.predict([("fine film", "warm plot")])) == 1


@pytest.mark.slow
def test_a_study_tunes_trains_and_compares_them(workspace, config):
    given = {**workspace.options, "strategies": "head_only,tfidf,majority", "export_dir": "out", "space": "strategy"}
    del given["learning_rate"]  # what is typed is not searched
    result = main.run(config(MainConfig, **given, tune="true", trials=2, seeds=2))
    table = result.comparison.table.set_index("strategy")
    assert (table["seeds"] == 2).all()
    assert table.loc["majority", "tuned"] == ""
    assert len({*table.loc[["head_only", "tfidf"], "tuned"].str.partition(" (")[0]}) == 1
    assert "Not ranked" not in Path("out/results/results.md").read_text()
