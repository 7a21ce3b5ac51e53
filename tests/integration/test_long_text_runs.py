"""Runs on texts that are too long: what the record says, what is scored, served and compared, and what is refused."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from pipeline.config import CompareConfig, MainConfig, PrepareDataConfig, ReproduceConfig, TuneConfig
from pipeline.data.long_texts import LongTextReading
from pipeline.data.tokenization import encode_texts
from pipeline.evaluation.task import softmax
from pipeline.stages import compare, main, prepare_data, reproduce, tune
from pipeline.tracking.tags import Tag
from pipeline.training.saved_model import load_model_folder

pytestmark = pytest.mark.usefixtures("blank_pictures")
LENGTH = 12


@pytest.fixture(scope="module")
def dataset(tiny):
    """Texts whose telling word is the last one, of one to four pieces."""
    generator = np.random.default_rng(0)
    good, bad = tiny.words
    words = [[*generator.choice(["the", "film", "a"], row % 25), (bad, good)[row % 2][row % 3]] for row in range(160)]
    path = tiny.root / "long.csv"
    rows = {"text": [" ".join([*row, f"word{number % 20}"]) for number, row in enumerate(words)], "label": ["bad", "good"] * 80}
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def options(dataset):
    return {"dataset": dataset, "max_length": LENGTH, "strategy": "head_only", "head": "mean", "epochs": 1}


@pytest.fixture(scope="module")
def runs(workspace, options):
    """A tested run of each way."""
    ways = {"head": {}, "head_tail": {"long_texts": "head_tail"}, "windows": {"long_texts": "windows", "window_overlap": 0.5}}
    ids = {way: workspace.train(**options, **given) for way, given in ways.items()}
    for run_id in ids.values():
        workspace.evaluate(run_id)
    return {way: workspace.tracker.get(run_id) for way, run_id in ids.items()}


def model_of(workspace, run, folder):
    return load_model_folder(workspace.tracker.download_model(run.run_id, folder))


def test_the_record_says_what_was_cut_and_how_many_pieces_there_are(runs, workspace, capsys):
    head, ends, windows = (runs[way].metrics for way in ("head", "head_tail", "windows"))
    assert head["data/texts_cut_percent"] == ends["data/texts_cut_percent"] == windows["data/texts_in_windows_percent"] > 30
    assert head["data/tokens_cut_percent"] == ends["data/tokens_cut_percent"] > 10
    assert windows["data/tokens_cut_percent"] == 0
    assert windows["data/pieces"] > 1.5 * windows["data/train_examples"]
    assert not {"data/pieces", "data/texts_in_windows_percent"} & {*head, *ends}
    assert windows["train/steps_per_epoch"] == np.ceil(windows["data/pieces"] / 16)
    assert {metrics["cost/examples"] for metrics in (head, ends, windows)} == {128}, "texts"
    tokens = [metrics["cost/tokens_per_second"] * metrics["cost/train_seconds"] for metrics in (head, ends, windows)]
    assert tokens[2] > 1.5 * tokens[0] == pytest.approx(1.5 * tokens[1])
    assert windows["cost/total_flops"] > 1.5 * head["cost/total_flops"]
    assert len({run.tags["config_hash"] for run in runs.values()}) == 3
    assert "long_texts" not in runs["head"].params
    assert (runs["windows"].params["long_texts"], runs["windows"].params["window_overlap"]) == ("windows", "0.5")


@pytest.mark.parametrize("way", ["head_tail", "windows"])
def test_a_loaded_model_reads_texts_as_in_training(runs, workspace, tmp_path, way):
    model = model_of(workspace, runs[way], tmp_path)
    model.model.eval()
    expected = LongTextReading(way, 0.5 if way == "windows" else 0.25)
    assert model.reading == expected
    test = pd.read_csv(workspace.tracker.download(runs[way].run_id, "predictions.csv", tmp_path))
    table = encode_texts(test["sentence"].tolist(), model.tokenizer, LENGTH, reading=expected)
    index = np.arange(len(test)) if table.text_index is None else table.text_index
    with torch.inference_mode():
        pieces = [model.model(input_ids=torch.tensor(table.tokens(row)[None]).long()).logits[0] for row in range(len(index))]
    logits = np.stack([np.stack(pieces)[index == text].mean(axis=0) for text in range(len(test))])
    np.testing.assert_allclose(test[["score_bad", "score_good"]], softmax(logits), atol=2e-6)
    assert runs[way].metrics["test/examples"] == len(test) == 16


def test_a_served_model_reads_all_of_a_text_in_windows(runs, workspace, tmp_path):
    text = "film " * 200
    for way, cut in (("head", 190), ("head_tail", 190), ("windows", 0)):
        served = mlflow.pyfunc.load_model(f"runs:/{runs[way].run_id}/model")
        answer = served.predict([text, "a film"])
        assert answer["tokens_cut"].tolist() == [cut, 0]
        own = model_of(workspace, runs[way], tmp_path / way).predict_texts([text.strip(), "a film"])
        np.testing.assert_allclose(answer[["score_bad", "score_good"]], own, atol=1e-6)


def test_rows_of_a_table_are_told_apart_by_what_they_read(runs):
    table = compare.run(CompareConfig(run_ids=tuple(run.run_id for run in runs.values()))).table
    assert set(table["long_texts"]) == {"head", "head_tail", "windows"}
    assert set(table["window_overlap"]) == {"", "0.5"}
    text = compare.run(CompareConfig(run_ids=(runs["head"].run_id,))).table
    assert "long_texts" not in text


@pytest.mark.slow
def test_a_run_in_windows_is_made_again_to_the_bit(runs):
    result = reproduce.run(ReproduceConfig(run_id=runs["windows"].run_id))
    assert (result.reproduction.outcome, result.reproduction.largest_score) == ("equal", 0.0)


@pytest.mark.slow
def test_a_search_trains_heads_on_pieces_at_once(workspace, options):
    given = {**options, "long_texts": "windows", "trials": 2, "model": workspace.options["model"], "precision": "fp32"}
    tune.run(workspace.config(TuneConfig, **given))
    search = next(run for run in workspace.tracker.search() if run.stage == "tune")
    assert search.tags[Tag.EXECUTOR] == "batched"
    trials = [run for run in workspace.tracker.search() if run.stage == "trial"]
    assert len(trials) == 2
    assert all(run.params["long_texts"] == "windows" and run.metrics["data/pieces"] > 200 for run in trials)


@pytest.mark.slow
def test_a_study_compares_the_ways(workspace, options, monkeypatch, in_this_process):
    monkeypatch.setattr(main, "WorkerProcesses", in_this_process)
    shared = {name: str(value) if name == "dataset" else value for name, value in options.items() if name != "strategy"}
    recipe = {
        "options": {**workspace.options, **shared, "seeds": 1},
        "strategies": {
            "beginning": {"strategy": "linear_probe"},
            "both ends": {"strategy": "linear_probe", "long_texts": "head_tail"},
            "all": {"strategy": "linear_probe", "long_texts": "windows", "window_overlap": 0.0},
        },
    }
    (workspace.folder / "ways.yaml").write_text(yaml.safe_dump(recipe))
    main.run(workspace.config(MainConfig, recipe="ways.yaml"))
    study = next(run for run in workspace.tracker.search() if run.stage == "main")
    table = compare.run(CompareConfig(study=study.run_id)).table
    ways = dict(zip(table["entry"], table["long_texts"], strict=True))
    assert ways == {"beginning": "head", "both ends": "head_tail", "all": "windows"}
    accuracy = dict(zip(table["entry"], table["accuracy"], strict=True))
    assert accuracy["all"] > accuracy["beginning"], "what tells stands at the end"


def test_prepared_data_say_how_they_would_be_read(workspace, options, capsys):
    given = {name: options[name] for name in ("dataset", "max_length")}
    prepare_data.run(workspace.config(PrepareDataConfig, **given, model=workspace.options["model"], long_texts="windows"))
    assert "of the training texts are longer than 12 tokens and read in windows (" in capsys.readouterr().out
    run = next(run for run in workspace.tracker.search() if run.stage == "prepare_data")
    assert run.metrics["data/pieces"] > 200


@pytest.mark.parametrize(
    ("stage", "given", "message"),
    [
        ("train", {"window_overlap": "0.5"}, "--window-overlap: --long-texts head makes no windows that could overlap."),
        (
            "train",
            {"long_texts": "windows", "window_overlap": "1"},
            "--window-overlap: got '1'. Give a number at least 0 and at most 0.9",
        ),
        ("train", {"long_texts": "tail"}, "--long-texts: got 'tail'. Give one of head, head_tail, windows"),
        ("train", {"long_texts": "windows", "max_length": "2"}, "Give --max-length 3 or more."),
        ("train", {"long_texts": "head_tail", "max_length": "2"}, "Give --max-length 3 or more."),
        ("prepare_data", {"long_texts": "windows", "max_length": "2"}, "Give --max-length 3 or more."),
        (
            "prepare_data",
            {"long_texts": "head_tail", "window_overlap": "0.5"},
            "--window-overlap: --long-texts head_tail makes no",
        ),
    ],
)
def test_what_means_nothing_is_refused_and_makes_no_run(workspace, options, stage, given, message):
    before = len(workspace.tracker.search())
    shared = {"model": workspace.options["model"], "dataset": options["dataset"]}
    result = workspace.cli(stage, **{**shared, **given})
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")
    assert len(workspace.tracker.search()) == before


@pytest.mark.parametrize("objective", ["classification", "bi_encoder"])
@pytest.mark.parametrize("way", ["head_tail", "windows"])
def test_pairs_are_refused_by_name(workspace, tiny, objective, way):
    table = pd.DataFrame({"one": ["a film", "b"] * 20, "two": ["c", "a plot"] * 20, "same": ["yes", "no"] * 20})
    table.to_csv("pairs.csv", index=False)
    given = {"dataset": "pairs.csv", "text_column": "one", "text_pair_column": "two", "label_column": "same"}
    result = workspace.cli("train", model=workspace.options["model"], objective=objective, long_texts=way, **given)
    assert result.exit_code == 2
    assert f"--long-texts {way}: is for single texts" in result.output


def test_a_model_that_was_trained_here_keeps_its_way(runs, workspace, options, tmp_path):
    folder = workspace.tracker.download_model(runs["head"].run_id, tmp_path)
    result = workspace.cli("evaluate", model=folder, dataset=options["dataset"], long_texts="windows")
    assert result.exit_code == 2
    assert "reads long texts as it did in training. Leave --long-texts out." in result.output.replace("\n", " ")
    record = json.loads((folder / "model.json").read_text())
    assert (record["long_texts"], record["window_overlap"]) == ("head", 0.25)
