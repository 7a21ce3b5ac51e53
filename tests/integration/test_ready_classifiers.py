"""A classifier that was trained elsewhere, with its outputs in another order than the data's classes."""

import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipeline.config import EvaluateConfig, TrainConfig
from pipeline.modeling.loading import load_tokenizer
from pipeline.modeling.model_sources import find_model
from pipeline.stages import evaluate
from pipeline.training.saved_model import load_model_folder, read_record

pytestmark = pytest.mark.usefixtures("blank_pictures")

STILL = {"learning_rate": "1e-6", "epochs": "1", "dropout": "0"}
"""A training that changes next to nothing."""


@pytest.fixture(scope="module")
def teacher(workspace):
    """A run whose test scores are those of a good classifier."""
    run_id = workspace.train(strategy="full", epochs=8)
    assert workspace.evaluate(run_id).test["accuracy"] > 0.9
    return run_id


@pytest.fixture(scope="module")
def turned(workspace, teacher, tmp_path_factory):
    """Its model as `save_pretrained` writes it, outputs the other way round: `turned(POSITIVE=..., ...)`."""
    made: list[Path] = []

    def make(*names: str) -> str:
        folder = tmp_path_factory.mktemp("turned")
        model = load_model_folder(workspace.tracker.download_model(teacher, folder / "own")).model
        model.classifier.weight.data = model.classifier.weight.data.flip(0)
        model.classifier.bias.data = model.classifier.bias.data.flip(0)
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: index for index, name in enumerate(names)}
        model.save_pretrained(folder / "whole")
        load_tokenizer(find_model(workspace.options["model"])).save_pretrained(folder / "whole")
        made.append(folder)
        return str(folder / "whole")

    return make


def first_validation(workspace, run_id):
    return workspace.tracker.history(run_id, "val/accuracy")[0][1]


@pytest.mark.parametrize("strategy", ["full", "lora", "head_only"])
def test_training_starts_from_the_classifier_as_it_is(workspace, turned, capsys, strategy):
    model = turned("GOOD", "BAD")
    run_id = workspace.train(model=model, strategy=strategy, **STILL)
    assert first_validation(workspace, run_id) > 0.8
    said = capsys.readouterr().out
    assert said.count("stand for GOOD, BAD; they are put in the data's order, bad, good") == 1
    assert "far below chance" not in said


def test_what_was_trained_is_tested_served_and_made_again_in_the_data_s_order(workspace, turned, tmp_path):
    run_id = workspace.train(model=turned("x", "y"), model_labels="good,bad", strategy="partial", **STILL)
    assert workspace.evaluate(run_id).test["accuracy"] > 0.9
    predictions = pd.read_csv(workspace.tracker.download(run_id, "predictions.csv", tmp_path))
    answer = mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict(predictions["sentence"].tolist())
    assert answer["label"].tolist() == predictions["pred"].tolist()
    folder = workspace.tracker.download_model(run_id, tmp_path)
    assert read_record(folder).model_labels == ["good", "bad"]
    result = workspace.cli("reproduce", run_id=run_id)
    assert result.exit_code == 0, result.output
    assert workspace.tracker.get(run_id).params["model_labels"] == "['good', 'bad']"


def test_the_order_is_part_of_what_a_run_is(workspace, turned):
    from pipeline.training.setup import find_inputs

    model = turned("LABEL_0", "LABEL_1")
    plain = find_inputs(workspace.config(TrainConfig, model=model))
    said = find_inputs(workspace.config(TrainConfig, model=model, model_labels="good,bad"))
    assert plain.identity != said.identity
    assert "taken for bad, good" in plain.notes[-1]
    assert not said.notes


def test_swapped_classes_are_remarked_on_in_training_test_and_comparison(workspace, turned, capsys):
    model = turned("LABEL_0", "LABEL_1")
    run_id = workspace.train(model=model, strategy="full", **STILL)
    assert first_validation(workspace, run_id) < 0.2
    said = capsys.readouterr().out
    assert "they are taken for bad, good, in this order. If it is another, give --model-labels" in said
    assert said.count("are far below chance: the classes may be swapped. --model-labels names") == 1
    evaluate.run(EvaluateConfig(model=model, dataset=workspace.options["dataset"]))
    workspace.evaluate(run_id)
    said = capsys.readouterr().out
    assert said.count("the test scores are far below chance: the classes may be swapped") == 2
    result = workspace.cli("compare", run_ids=run_id)
    assert result.exit_code == 0, result.output
    assert "full did not learn: it is far below chance: the classes may be swapped." in " ".join(result.output.split())


def test_a_foreign_classifier_is_scored_in_the_order_that_is_typed(workspace, turned, teacher):
    model, data = turned("LABEL_0", "LABEL_1"), workspace.options["dataset"]
    result = evaluate.run(EvaluateConfig(model=model, dataset=data, model_labels=("good", "bad")))
    assert result.test == pytest.approx(workspace.evaluate(teacher).test)


def test_of_other_names_a_new_classifier_is_trained_and_none_is_tested(workspace, turned, capsys):
    model = turned("NEG", "POS")
    run_id = workspace.train(model=model, strategy="head_only", epochs=1)
    assert "knows the classes NEG, POS, but the data has bad, good, so a new one is drawn." in capsys.readouterr().out
    assert workspace.tracker.get(run_id).status == "FINISHED"
    result = workspace.cli("evaluate", model=model, dataset=workspace.options["dataset"])
    assert result.exit_code == 2
    assert "Give the classes in the order of its outputs as --model-labels" in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_labels": "bad"}, "the data has the classes bad, good. Name each of them once"),
        ({"model_labels": "bad,good", "head": "mean"}, "a new one is trained instead. Leave it out"),
    ],
    ids=["one", "mean"],
)
def test_labels_that_say_nothing_are_refused_before_a_run_is_made(workspace, turned, options, said):
    before = len(workspace.tracker.search())
    result = workspace.cli("train", **{**workspace.options, "model": turned("a", "b"), **options})
    assert (result.exit_code, len(workspace.tracker.search())) == (2, before), result.output
    assert said in result.output


def test_labels_for_a_model_without_a_classifier_are_refused(workspace):
    result = workspace.cli("train", **workspace.options, model_labels="bad,good")
    assert result.exit_code == 2
    assert "has no trained classifier. Leave --model-labels out" in result.output


def test_what_is_not_used_of_the_weights_is_said_once_in_a_study(workspace, turned, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(turned("good", "bad"), tmp_path / "with_lm_head"))
    weights = load_file(folder / "model.safetensors") | {"cls.predictions.bias": torch.zeros(200)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    options = {name: workspace.options[name] for name in ("dataset", "batch_size", "precision")}
    given = {**options, "model": folder, "strategies": "bitfit,head_only", "epochs": 1, "learning_rate": "1e-3"}
    result = workspace.cli("main", **given)
    assert result.exit_code == 0, result.output
    assert result.output.count("not used of its weights: cls.") == 1
    assert result.output.count("they are put in the data's order") == 1


def test_a_run_s_artifacts_are_found_to_be_its_model(workspace, teacher):
    where = Path(workspace.client.get_run(teacher).info.artifact_uri.removeprefix("file://"))
    expected = workspace.evaluate(teacher).test
    for folder in (where / "model", where):
        assert evaluate.run(EvaluateConfig(model=str(folder), dataset=workspace.options["dataset"])).test == expected
        result = workspace.cli("train", **{**workspace.options, "model": folder})
        assert result.exit_code == 2
        said = " ".join(result.output.split())
        assert f"It is a model that fairtune trained (full on {workspace.options['model']})" in said
        assert f"python -m pipeline evaluate --run-id {teacher}`. To train on the same encoder, give --model" in said
    record = json.loads(next(where.glob("model/data/*/model.json")).read_text())
    assert record["strategy"] == "full"
