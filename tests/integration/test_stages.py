"""train, evaluate and compare on a real store, and what they refuse."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline import load_results
from pipeline.config import CompareConfig, EvaluateConfig, PrepareDataConfig
from pipeline.errors import ConfigError, DataError, PipelineError, RunError
from pipeline.evaluation.metric import list_metrics
from pipeline.stages import compare, evaluate, prepare_data
from pipeline.tracking.tags import Tag

SCORES = {metric.name for metric in list_metrics("class")}
METRICS = (
    {"train/loss", "train/learning_rate", "train/loss_mean", "val/loss", *(f"val/{name}" for name in SCORES)}
    | {"model/trainable_params", "model/total_params", "model/trainable_percent"}
    | {"cost/train_seconds", "cost/cache_seconds", "cost/wall_seconds", "cost/peak_rss_mb"}
    | {"data/texts_cut_percent", "data/tokens_cut_percent", "data/unknown_tokens_percent"}
    | {"cost/examples_per_second", "cost/total_flops", "cost/model_flops_utilisation", "cost/artifact_mb"}
)
TAGS = {"stage", "strategy", "recipe", "data_fingerprint", "config_hash", "git_commit"}
REFUSAL = 2


@pytest.fixture(scope="module")
def trained(workspace):
    return workspace.train(strategy="full", seed=1, epochs=6, batch_size=8, dropout=0)


@pytest.fixture(scope="module")
def evaluated(workspace, trained):
    workspace.evaluate(trained)
    return trained


@pytest.fixture(scope="module")
def failed(workspace):
    result = workspace.cli("train", **workspace.options | {"learning_rate": "1e30"}, strategy="full")
    assert result.exit_code == 1, result.output
    return workspace.tracker.search()[0].run_id


def artifacts(workspace, run_id, path=""):
    return {Path(item.path).name for item in workspace.client.list_artifacts(run_id, path)}


def test_a_trained_run_is_complete(workspace, trained, tmp_path):
    run = workspace.tracker.get(trained)
    assert run.status == "FINISHED"
    assert set(run.metrics) >= METRICS
    assert not {name for name in run.metrics if "cuda" in name or name.startswith("test/")}
    assert set(run.tags) >= TAGS | {Tag.SETTINGS_HASH}
    assert {name: run.params[name] for name in ("strategy", "learning_rate", "batch_size", "seed")} == {
        "strategy": "full",
        "learning_rate": "0.003",
        "batch_size": "8",
        "seed": "1",
    }
    assert artifacts(workspace, trained) >= {"model", "config.json", "environment.json", "manifest.json", "parameters.csv"}
    table = pd.read_csv(workspace.tracker.download(trained, "parameters.csv", tmp_path))
    assert table.loc[table["trains"], "size"].sum() == run.metrics["model/trainable_params"]
    assert table["size"].sum() == run.metrics["model/total_params"]
    assert {dataset.tags[0].value for dataset in workspace.client.get_run(trained).inputs.dataset_inputs} == {
        "training",
        "validation",
    }


def test_the_selected_checkpoint_is_the_runs_latest(workspace, trained):
    run = workspace.tracker.get(trained)
    best = max(value for _, value in workspace.tracker.history(trained, "val/accuracy"))
    assert run.metrics["val/accuracy"] == best


def test_evaluate_writes_scores_and_predictions_onto_the_run(workspace, evaluated, tmp_path):
    run = workspace.tracker.get(evaluated)
    scores = {name: run.metrics[f"test/{name}"] for name in SCORES}
    assert scores["accuracy"] >= 0.7, "the words of the made-up reviews can be learnt"
    assert artifacts(workspace, evaluated) >= {"predictions.csv", "confusion_matrix.png"}
    predictions = pd.read_csv(workspace.tracker.download(evaluated, "predictions.csv", tmp_path))
    assert list(predictions)[:3] == ["sentence", "gold", "pred"]
    assert (predictions["gold"] == predictions["pred"]).mean() == pytest.approx(scores["accuracy"])
    assert run.status == "FINISHED"


def test_a_second_evaluate_returns_the_recorded_result(workspace, evaluated, monkeypatch):
    first = workspace.tracker.get(evaluated).metrics
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "load_model_folder", lambda folder: pytest.fail("measured again"))
        result = workspace.evaluate(evaluated)
    assert result.recorded
    assert result.test == {name: first[f"test/{name}"] for name in SCORES}
    forced = workspace.evaluate(evaluated, force=True)
    assert not forced.recorded
    assert forced.test == result.test


def test_the_served_model_agrees(workspace, evaluated, tmp_path):
    predictions = pd.read_csv(workspace.tracker.download(evaluated, "predictions.csv", tmp_path))
    answer = mlflow.pyfunc.load_model(f"runs:/{evaluated}/model").predict(predictions[["sentence"]])
    assert answer["label"].tolist() == predictions["pred"].tolist()
    np.testing.assert_allclose(answer[["score_bad", "score_good"]], predictions[["score_bad", "score_good"]], atol=1e-5)


def test_a_model_folder_from_elsewhere_scores_the_same(workspace, evaluated, tmp_path):
    folder = workspace.tracker.download_model(evaluated, tmp_path)
    result = evaluate.run(EvaluateConfig(model=str(folder), dataset=workspace.options["dataset"]))
    assert result.run_id != evaluated
    assert result.test == workspace.evaluate(evaluated).test
    trained, external = (workspace.tracker.get(run_id).metrics for run_id in (evaluated, result.run_id))
    overlap = {name: value for name, value in trained.items() if name.startswith("data/overlap_train_test_")}
    assert len(overlap) == 8
    assert {name: external[name] for name in overlap} == overlap


def test_a_classifier_from_elsewhere_is_scored_in_its_own_order(workspace, evaluated, tmp_path):
    from pipeline.modeling.loading import load_tokenizer
    from pipeline.modeling.model_sources import find_model
    from pipeline.training.saved_model import load_model_folder

    model = load_model_folder(workspace.tracker.download_model(evaluated, tmp_path / "own")).model
    model.classifier.weight.data = model.classifier.weight.data.flip(0)
    model.classifier.bias.data = model.classifier.bias.data.flip(0)
    model.config.id2label, model.config.label2id = {0: "Good", 1: "Bad"}, {"Good": 0, "Bad": 1}
    model.save_pretrained(tmp_path / "foreign")
    load_tokenizer(find_model(workspace.options["model"])).save_pretrained(tmp_path / "foreign")
    result = evaluate.run(EvaluateConfig(model=str(tmp_path / "foreign"), dataset=workspace.options["dataset"]))
    assert result.test == pytest.approx(workspace.evaluate(evaluated).test)


def test_what_is_lost_between_text_and_model_is_said_and_recorded(workspace, tmp_path, capsys):
    path = tmp_path / "korean.csv"
    rows = [f"{('최고의 영화 ' * 12, '지루한 영화')[row % 2]} {row},{row % 2}" for row in range(60)]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    options = {"model": workspace.options["model"], "dataset": path, "max_length": 16}
    prepare_data.run(workspace.config(PrepareDataConfig, **options))
    said = [capsys.readouterr().out]
    trained = workspace.train(**{**workspace.options, **options}, strategy="head_only")
    said.append(capsys.readouterr().out)
    for text in said:
        assert "50.0 % of the training texts are cut at 16 tokens" in text
        assert f"Warning: the tokenizer of {options['model']} makes [UNK] of " in text
        assert text.index("whatever the learning rate") < (text + "step").index("step"), "before training"
    (prepared,) = workspace.tracker.search({"stage": "prepare_data"})[:1]
    for run in (prepared, workspace.tracker.get(trained)):
        assert run.metrics["data/texts_cut_percent"] == 50
        assert 30 < run.metrics["data/tokens_cut_percent"] < 50
        assert run.metrics["data/unknown_tokens_percent"] > 60


def test_training_never_opens_the_test_data(workspace):
    prepared = prepare_data.run(workspace.config(PrepareDataConfig, **workspace.options_of_data(), split_seed=3))
    (prepared.folder / "test.parquet").write_bytes(b"not for you")
    run_id = workspace.train(strategy="head_only", split_seed=3, epochs=1)
    assert workspace.tracker.get(run_id).status == "FINISHED"
    (prepared.folder / "test.parquet").unlink()
    assert workspace.train(strategy="head_only", split_seed=3, epochs=1, seed=2)


def test_damaged_and_missing_test_data_are_made_anew(workspace):
    data = workspace.options_of_data()
    run_id = workspace.train(strategy="head_only", split_seed=4, epochs=1)
    file = prepare_data.run(workspace.config(PrepareDataConfig, **data, split_seed=4)).folder / "test.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    result = workspace.cli("evaluate", run_id=run_id)
    assert (result.exit_code, "Traceback" in result.output) == (0, False), result.output
    assert file.read_bytes() == content
    file.unlink()
    assert 0 <= workspace.evaluate(run_id, force=True).test["accuracy"] <= 1
    assert file.read_bytes() == content


def test_any_line_end_in_a_text_is_read_back_from_the_predictions(workspace, tmp_path):
    rows = [
        {"text": f"the film\r{row} \r\n is {word}\n.", "label": f"0{word}"} for row in range(30) for word in ("fine", "dull")
    ]
    path = tmp_path / "ends.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_id = workspace.train(dataset=path, strategy="head_only", epochs=1)
    workspace.evaluate(run_id)
    predictions = pd.read_csv(workspace.tracker.download(run_id, "predictions.csv", tmp_path))
    assert len(predictions) == 6
    assert set(predictions["sentence"]) < {row["text"] for row in rows}


def test_overlap_is_logged_and_warned_of(workspace, tmp_path, capsys):
    path = tmp_path / "phrases.csv"
    rows = [(f"film {row} is {word} and warm", word) for row in range(30) for word in ("good", "bad")]
    rows += [(f"{text} indeed", label) for text, label in rows]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    options = {**workspace.options_of_data(), "dataset": path}
    prepare_data.run(workspace.config(PrepareDataConfig, **options))
    assert "Test overlaps train" in capsys.readouterr().out
    made = next(run for run in workspace.tracker.search() if run.stage == "prepare_data")
    names = {file.path for file in workspace.client.list_artifacts(made.run_id)}
    assert {"overlap.json", "overlap.png"} <= names
    logged = json.loads(workspace.tracker.download(made.run_id, "overlap.json", tmp_path).read_text())
    found = logged["counts"]["train/test"]
    assert found["inside"] + found["contains"] > 0
    assert made.metrics["data/overlap_train_test_inside"] == pytest.approx(100 * found["inside"] / found["rows"])
    assert logged["examples"]["train/test"]["inside"] or logged["examples"]["train/test"]["contains"]

    run_id = workspace.train(dataset=path, epochs=1)
    assert workspace.tracker.get(run_id).metrics["data/overlap_train_test_leaking"] > 5
    workspace.evaluate(run_id)
    capsys.readouterr()
    result = compare.run(CompareConfig(run_ids=run_id))
    assert "Test overlaps train" in capsys.readouterr().out
    assert "Test overlaps train" in workspace.tracker.download(result.run_id, "results.md", tmp_path).read_text()


def test_a_training_that_learned_nothing_says_so_and_one_that_learned_does_not(workspace):
    options = workspace.options | {"epochs": 6, "batch_size": 8, "dropout": 0}
    idle = workspace.cli("train", **options | {"learning_rate": "1e-12"}, strategy="full")
    assert "did not learn" in idle.output
    assert "Lower --learning-rate (1e-12)" in idle.output
    assert "did not learn" not in workspace.cli("train", **options, strategy="full").output


def test_changed_data_are_refused(workspace, tmp_path, tiny):
    data = tmp_path / "mine.csv"
    data.write_text(tiny.csv().read_text())
    run_id = workspace.train(strategy="head_only", dataset=data, epochs=1)
    data.write_text(data.read_text() + "a film that came later,good\n")
    with pytest.raises(DataError, match="was trained on data with fingerprint"):
        workspace.evaluate(run_id)
    assert "test/accuracy" not in workspace.tracker.get(run_id).metrics


@pytest.mark.parametrize(
    ("run", "message"),
    [("unknown", "There is no run"), ("failed", "its status is FAILED"), ("compare", "made by the stage compare")],
)
def test_evaluate_refuses_runs_without_a_model(workspace, failed, evaluated, run, message):
    if run == "compare":
        run_id = compare.run(CompareConfig(run_ids=(evaluated,))).run_id
    else:
        run_id = {"unknown": "0123456789abcdef0123456789abcdef", "failed": failed}[run]
    before = len(workspace.tracker.search())
    with pytest.raises(RunError, match=message):
        workspace.evaluate(run_id)
    assert len(workspace.tracker.search()) == before


@pytest.mark.parametrize("options", [{}, {"run_id": "a", "model": "b"}, {"model": "b"}], ids=str)
def test_evaluate_wants_a_run_or_a_model(options):
    with pytest.raises(ConfigError):
        evaluate.run(EvaluateConfig(**options))


def test_options_that_a_run_has_of_its_own_are_refused_beside_it(workspace, evaluated):
    before = len(workspace.tracker.search())
    result = workspace.cli("evaluate", run_id=evaluated, split="official", max_length=16)
    assert result.exit_code == REFUSAL
    assert "Leave out --split, --max-length, or name other data" in result.output
    assert len(workspace.tracker.search()) == before
    assert workspace.cli("evaluate", run_id=evaluated, cache_dir=".cache", force="false").exit_code == 0


def test_a_failed_training_is_marked(workspace, failed):
    run = workspace.tracker.get(failed)
    assert run.status == "FAILED"
    assert "The training loss became" in run.tags["status_detail"]
    assert "model" not in artifacts(workspace, failed)
    assert not list(Path(".cache/checkpoints").glob("*/step-*")), "going on from there would end the same way"


def test_a_mistake_makes_no_run_and_closes_the_one_mlflow_made(workspace, monkeypatch):
    mistakes = [{"learning_rate": "-1"}, {"strategy": "lorra"}, {"strategy": "partial", "strategy_args": "top_k=9"}]
    before = len(workspace.tracker.search())
    for mistake in mistakes:
        result = workspace.cli("train", **workspace.options | mistake)
        assert result.exit_code == REFUSAL, result.output
    assert len(workspace.tracker.search()) == before
    client = workspace.client
    given = client.create_run(client.get_experiment_by_name("fairtune").experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert workspace.cli("train", **workspace.options | mistakes[1]).exit_code == REFUSAL
    run = workspace.tracker.get(given)
    assert run.status == "FAILED"
    assert "Did you mean 'lora'?" in run.tags["status_detail"]


def test_the_run_that_mlflow_made_is_used_and_its_texts_stay(workspace, monkeypatch):
    client = workspace.client
    given = client.create_run(client.get_experiment_by_name("fairtune").experiment_id).info.run_id
    for name, value in {"learning_rate": "3e-3", "strategy_args": "top_k=1", "run_id": ""}.items():
        client.log_param(given, name, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert workspace.train(strategy="partial", strategy_args="top_k=1", epochs=1) == given
    run = workspace.tracker.get(given)
    assert (run.status, run.params["learning_rate"], run.params["top_k"]) == ("FINISHED", "3e-3", "1")


@pytest.fixture(scope="module")
def others(workspace, tiny, evaluated, failed):
    """Runs that must not stand in one table with `evaluated`."""
    other_data = workspace.train(strategy="bitfit", dataset=tiny.csv(120, seed=5), epochs=1)
    untested = workspace.train(strategy="bitfit", epochs=1)
    workspace.evaluate(other_data)
    newest = workspace.train(strategy="head_only", epochs=1)
    workspace.evaluate(newest)
    return {"other data": other_data, "no test result": untested, "status FAILED": failed, "kept": newest}


def test_only_comparable_runs_stand_in_the_table_and_the_others_are_named(workspace, evaluated, others, capsys):
    assert compare.run(CompareConfig(study="all")).left_out, "all runs, those without a strategy among them"
    capsys.readouterr()
    with pytest.raises(RunError, match=rf"not all can stand in one table .*{others['other data']}.*other data .*dataset"):
        compare.run(CompareConfig(run_ids=(evaluated, *others.values())))
    alike = [run_id for reason, run_id in others.items() if reason != "other data"]
    result = compare.run(CompareConfig(run_ids=(evaluated, *alike), export_dir="export"))
    assert set(" ".join(result.table["run_ids"]).split()) == {evaluated, others["kept"]}
    said = capsys.readouterr().out
    for reason in ("no test result", "status FAILED"):
        (line,) = [line for line in result.left_out if others[reason] in line]
        assert reason in line
        assert f"Left out: {line}" in said
    assert artifacts(workspace, result.run_id) >= {
        *("model_summary.csv", "results.md", "report.html", "runs.csv", "audit.csv", "confusions.csv"),
        *("per_class.csv", "per_length.csv", "reliability.csv", "comparisons.csv", "hardest_examples.csv"),
    }

    exported = {str(path.relative_to("export")) for path in Path("export").rglob("*") if path.is_file()}
    for name in ("full", "head_only"):
        assert {f"results/{name}_test_outputs.csv", f"models/{name}/model.json"} <= exported
    assert "results/model_summary.csv" in exported
    assert "The parts and their classes" in Path("export/results/results.md").read_text(), "nobody prepared, train says it"
    summary = pd.read_csv("export/results/model_summary.csv")
    assert set(summary["strategy"]) == {"full", "head_only"}
    run = workspace.tracker.get(evaluated)
    row = summary.set_index("strategy").loc["full"]
    assert row["f1_macro"] == pytest.approx(run.metrics["test/f1_macro"])
    assert row["trainable_params"] == run.metrics["model/trainable_params"]
    assert list(pd.read_csv("export/results/full_test_outputs.csv")) == ["sentence", "gold", "pred"]


def test_nothing_to_compare_is_said(others):
    with pytest.raises(RunError, match="no test result"):
        compare.run(CompareConfig(run_ids=(others["no test result"],)))


def test_an_export_that_cannot_be_written_is_an_error(workspace, evaluated):
    Path("a-file").write_text("")
    with pytest.raises(PipelineError, match="--export-dir a-file"):
        compare.run(CompareConfig(run_ids=(evaluated,), export_dir="a-file"))


def test_load_results_agrees_with_plain_mlflow(workspace, evaluated):
    ours = load_results().set_index("run_id")
    plain = mlflow.search_runs(search_all_experiments=True).set_index("run_id")
    assert sorted(ours.index) == sorted(plain.index[plain["tags.stage"].notna()])
    assert (ours["evaluates"] == evaluated).any()
    compared = 0
    for run_id, row in ours.iterrows():
        for column in plain.columns:
            kind, _, name = column.partition(".")
            if kind == "metrics" and pd.notna(plain.loc[run_id, column]):
                assert row[name] == plain.loc[run_id, column]
                compared += 1
            elif kind == "tags" and name in TAGS and pd.notna(plain.loc[run_id, column]):
                assert row[name] == plain.loc[run_id, column]
    assert compared > len(METRICS)
    assert ours.loc[evaluated, "learning_rate"] == 0.003  # typed, not text
    assert json.loads(plain.loc[evaluated, f"tags.{Tag.STRATEGY_ARGS}"]) == {}
