"""Runs made again from their records."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from pipeline.config import ReproduceConfig, TuneConfig
from pipeline.errors import DataError, ModelError, PipelineError, RunError
from pipeline.stages import reproduce, tune
from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def original(workspace):
    run_id = workspace.train(strategy="partial", strategy_args="top_k=2", dropout="0.1", max_train_samples=64, seed=3)
    workspace.evaluate(run_id)
    return run_id


def test_on_the_same_machine_a_run_comes_out_equal_to_the_last_bit(workspace, original):
    result = workspace.cli("reproduce", run_id=original)
    assert result.exit_code == 0, result.output
    made = next(run for run in workspace.tracker.search() if run.stage == "reproduce")
    assert made.tags[Tag.REPRODUCTION] == "equal"
    assert made.tags[Tag.REPRODUCES] == original
    below = {run.stage: run for run in workspace.tracker.search() if run.parent_id == made.run_id}
    assert {"train", "evaluate"} <= set(below)
    then, now = workspace.tracker.get(original), workspace.tracker.get(below["train"].run_id)
    assert then.run_id != now.run_id
    assert then.metrics["train/loss_mean"] == now.metrics["train/loss_mean"]
    assert then.metrics["test/f1_macro"] == now.metrics["test/f1_macro"]


def test_it_computes_on_as_many_threads_as_then(workspace, original, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    reproduce.run(ReproduceConfig(run_id=original))
    assert seen == [1, 3]  # as recorded, and back


def test_another_outcome_fails_and_says_what_differs(workspace, original, monkeypatch, tmp_path):
    plain = reproduce.train.run

    def otherwise(config, *arguments, **keywords):
        return plain(reproduce.dataclasses.replace(config, seed=4), *arguments, **keywords)

    monkeypatch.setattr(reproduce.train, "run", otherwise)
    monkeypatch.setattr("pipeline.stages.run_record.environment", lambda: {"packages": {"torch": "99"}})
    with pytest.raises(PipelineError, match=r"different: .*torch: 2\.13.* then, 99 now"):
        reproduce.run(ReproduceConfig(run_id=original, tolerance=0))
    made = next(run for run in workspace.tracker.search() if run.stage == "reproduce")
    assert made.status == "FAILED"
    assert made.tags[Tag.REPRODUCTION] == "different"
    noted = json.loads(workspace.tracker.download(made.run_id, "reproduction.json", tmp_path).read_text())
    assert noted["outcome"] == "different"


def test_the_tolerance_is_for_scores_and_all_else_is_reported_by_metric(workspace, original, tmp_path):
    nll = workspace.tracker.get(original).metrics["test/nll"]
    workspace.tracker.open_for_update(original).log_metrics({"test/nll": nll + 5, "test/new": 1.0})
    assert reproduce.run(ReproduceConfig(run_id=original)).reproduction.outcome == "equal within tolerance"
    made = next(run for run in workspace.tracker.search() if run.stage == "reproduce")
    assert made.metrics["reproduce/largest_score_difference"] == 0
    text = workspace.tracker.download(made.run_id, "reproduction.json", tmp_path).read_text()
    noted = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["largest_by_metric"]
    assert (noted["test/nll"], noted["test/new"], noted["test/f1_macro"]) == (pytest.approx(5), None, 0)


@pytest.mark.parametrize("options", [{}, {"run_id": "0" * 32}, {"tolerance": -1, "run_id": "x"}])
def test_what_cannot_be_made_again_is_refused(workspace, options):
    before = len(workspace.tracker.search())
    result = workspace.cli("reproduce", **options)
    assert result.exit_code == 2, result.output
    assert len(workspace.tracker.search()) == before


def test_other_data_or_another_base_are_named_before_anything_is_trained(workspace, tiny, tmp_path):
    data, model = tmp_path / "data.csv", tmp_path / "model"
    shutil.copy(tiny.csv(), data)
    shutil.copytree(tiny.folder(), model)
    run_id = workspace.train(strategy="bitfit", dataset=data, model=model, epochs=1, max_train_samples=16)
    before = len(workspace.tracker.search())
    kept = data.read_text()
    data.write_text(kept + "one more text,good\n")
    with pytest.raises(DataError, match="fingerprint"):
        reproduce.run(ReproduceConfig(run_id=run_id))
    data.write_text(kept)
    vocabulary = model / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text().replace("word1\n", "other\n"))
    with pytest.raises(ModelError, match="base with SHA-256"):
        reproduce.run(ReproduceConfig(run_id=run_id))
    assert len(workspace.tracker.search()) == before


def test_of_a_search_the_best_trial_alone_can_be_made_again(workspace):
    recipe = {"options": workspace.options, "space": {"learning_rate": [1e-5, 1e-4, 1e-3, 1e-2]}}
    Path("halved.yaml").write_text(yaml.safe_dump(recipe))
    config = workspace.config(TuneConfig, strategy="head_only", recipe="halved.yaml", epochs=4, pruner="halving")
    best = tune.run(config).best_run_id
    trials = workspace.tracker.search({"stage": "trial"})
    others = [run for run in trials if run.run_id != best]
    before = len(workspace.tracker.search())
    why = {Tag.PRUNED_AT in run.tags: run for run in others}
    assert set(why) == {True, False}, "trials that were ended early, and some that only lost"
    for run in others:
        reason = "ended it early, after step" if Tag.PRUNED_AT in run.tags else "holds no model"
        with pytest.raises(RunError, match=rf"--run-id {run.run_id}: .*{reason}.*Give --run-id of one of these"):
            reproduce.run(ReproduceConfig(run_id=run.run_id))
    assert len(workspace.tracker.search()) == before
    assert reproduce.run(ReproduceConfig(run_id=best)).reproduction.outcome == "equal"


def test_the_best_of_trials_that_trained_at_once_can_be_made_again(workspace):
    recipe = {"options": workspace.options, "space": {"learning_rate": [1e-3, 1e-2, 3e-2], "dropout": [0.1, 0.3]}}
    Path("together.yaml").write_text(yaml.safe_dump(recipe))
    best = tune.run(workspace.config(TuneConfig, strategy="head_only", recipe="together.yaml", epochs=2)).best_run_id
    assert workspace.tracker.get(best).metrics["cost/grid_points"] == 6
    result = reproduce.run(ReproduceConfig(run_id=best))
    assert result.reproduction.outcome in ("equal", "equal within tolerance")
    assert result.reproduction.largest_weight < 1e-4
    assert workspace.tracker.get(result.trained_run_id).metrics["cost/grid_points"] == 1


def test_several_processes_have_as_many_threads_as_then(workspace, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.delenv("OMP_NUM_THREADS")
    options = {
        "strategy": "head_only",
        "epochs": 1,
        "max_train_samples": 32,
        "num_processes": 2,
        "frozen_prefix_cache": "false",
    }
    try:
        original = workspace.train(**options)
    finally:
        torch.set_num_threads(before)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = reproduce.run(ReproduceConfig(run_id=original))
    threads = [
        reproduce._read_environment(workspace.tracker, workspace.tracker.get(run_id))["hardware"]["torch_threads"]
        for run_id in (original, result.trained_run_id)
    ]
    assert threads == [2, 2]
    assert (result.reasons, result.reproduction.outcome) == ((), "equal")
