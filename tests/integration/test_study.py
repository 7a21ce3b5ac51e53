"""tune and main: nested runs in processes of their own."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from pipeline.config import CompareConfig, MainConfig, TrainConfig, TuneConfig
from pipeline.errors import PipelineError
from pipeline.stages import compare, main, train, tune
from pipeline.tracking import open_tracker

# The processes are forked from one server that keeps the environment of its start; so all tests here share one store.


def children_of(tracker, run_id):
    return [run for run in tracker.search() if run.parent_id == run_id]


def holds_model(workspace, run_id):
    return "model" in {item.path for item in workspace.client.list_artifacts(run_id)}


def write_recipe(path, **content):
    Path(path).write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def study(workspace):
    """A study in which one of three strategies fails; returns the message with which it ended."""
    recipe = write_recipe(
        "three.yaml",
        options={**workspace.options, "seeds": 1},
        strategies={
            "head_only": {"learning_rate": 1e-2},
            "full": {"learning_rate": 1e30},
            "partial": {"strategy_args": {"top_k": 1}},
        },
    )
    with pytest.raises(PipelineError) as caught:
        main.run(workspace.config(MainConfig, recipe=recipe, export_dir="export", epochs=1))
    return str(caught.value)


def test_tune_keeps_the_best_trial_only(workspace):
    recipe = write_recipe("grid.yaml", options=workspace.options, space={"learning_rate": [1e-3, 1e-2], "dropout": [0.1]})
    config = workspace.config(TuneConfig, strategy="head_only", trials=2, recipe=recipe, epochs=1, frozen_prefix_cache="false")
    result = tune.run(config)
    tracker = workspace.tracker
    assert not result.best_config.frozen_prefix_cache, "how a search is carried out is how its trials are"
    parent, trials = tracker.get(result.run_id), children_of(tracker, result.run_id)
    assert (parent.stage, parent.status, parent.tags["best_run_id"]) == ("tune", "FINISHED", result.best_run_id)
    assert len(trials) == result.trials == 2
    assert {trial.stage for trial in trials} == {"trial"}
    assert {trial.tags["frozen_prefix_cache"] for trial in trials} == {"unused"}
    assert {float(trial.params["learning_rate"]) for trial in trials} == {1e-3, 1e-2}
    assert {trial.run_id for trial in trials if holds_model(workspace, trial.run_id)} == {result.best_run_id}
    scores = {trial.run_id: trial.metrics["val/accuracy"] for trial in trials}
    assert result.best_score == scores[result.best_run_id] == max(scores.values())
    assert parent.metrics["best/val_accuracy"] == result.best_score
    winner = tracker.get(result.best_run_id)
    assert float(winner.params["learning_rate"]) == result.best_config.learning_rate
    assert workspace.evaluate(result.best_run_id).test["accuracy"] >= 0
    compared = compare.run(CompareConfig(run_ids=(result.best_run_id, result.run_id)))
    assert list(compared.table["run_ids"]) == [result.best_run_id], "a trial that was tested may be compared"
    assert compared.left_out == (f"run {result.run_id}: made by tune, not by train",)


def test_a_study_goes_on_when_one_strategy_fails(workspace, study):
    assert "1 of 3 strategies failed" in study
    assert "full: The training loss became" in study
    (parent,) = [run for run in workspace.tracker.search() if run.stage == "main"]
    assert (parent.status, parent.tags["status_detail"]) == ("FAILED", study)
    found = {(run.stage, run.tags.get("strategy")): run for run in children_of(workspace.tracker, parent.run_id)}
    assert {("prepare_data", None), ("train", "head_only"), ("train", "partial"), ("compare", None)} <= found.keys()
    assert found["train", "full"].status == "FAILED"
    for strategy in ("head_only", "partial"):
        assert "test/f1_macro" in found["train", strategy].metrics
        assert found["train", strategy].params["epochs"] == "1", "what is typed beats the recipe"
    assert float(found["train", "head_only"].params["learning_rate"]) == 1e-2
    assert found["train", "partial"].params["top_k"] == "1"


def test_the_export_has_the_studys_layout(study):
    exported = {str(path.relative_to("export")) for path in Path("export").rglob("*")}
    for strategy in ("head_only", "partial"):
        assert {f"results/{strategy}_test_outputs.csv", f"models/{strategy}/model.json"} <= exported
        assert list(pd.read_csv(f"export/results/{strategy}_test_outputs.csv")) == ["sentence", "gold", "pred"]
    assert list(pd.read_csv("export/results/model_summary.csv")["strategy"].sort_values()) == ["head_only", "partial"]


def test_a_mistake_in_one_strategy_stops_the_study_before_it_begins(workspace):
    recipe = write_recipe("bad.yaml", options=workspace.options, strategies={"full": {}, "lora": {"strategy_args": {"r": 0}}})
    before = len(workspace.tracker.search())
    result = workspace.cli("main", recipe=recipe)
    assert result.exit_code == 2
    assert "lora: r" in result.output
    assert len(workspace.tracker.search()) == before


def test_compare_takes_the_newest_study(workspace, study):
    workspace.evaluate(workspace.train(strategy="bitfit", epochs=1))
    result = compare.run(CompareConfig())
    assert set(result.table["strategy"]) == {"head_only", "partial"}
    assert any(line.startswith("full") for line in result.left_out)


def train_or_break(plan: TrainConfig, parent_id: str, tags: dict[str, str]) -> object:
    """In place of `train.run`: one strategy meets an error that nobody foresaw, with its run open."""
    if plan.strategy != "full":
        return train.run(plan, parent_id=parent_id, tags=tags)
    logger = open_tracker().start("broken", parent_id)
    logger.set_tags({"stage": "train", "strategy": "full"})
    raise RuntimeError("no kernel")


def test_a_study_goes_on_after_an_error_that_nobody_foresaw(workspace, monkeypatch):
    recipe = write_recipe("two.yaml", options={**workspace.options, "seeds": 1}, strategies={"full": {}, "head_only": {}})
    monkeypatch.setattr(main, "train", SimpleNamespace(run=train_or_break))
    with pytest.raises(PipelineError, match=r"1 of 2 strategies failed .* full: RuntimeError: no kernel"):
        main.run(workspace.config(MainConfig, recipe=recipe, epochs=1))
    parent = next(run for run in workspace.tracker.search() if run.stage == "main")
    found = {run.tags["strategy"]: run for run in children_of(workspace.tracker, parent.run_id) if run.stage == "train"}
    assert (found["full"].status, found["full"].tags["status_detail"]) == ("FAILED", "RuntimeError: no kernel.")
    assert "test/f1_macro" in found["head_only"].metrics
    assert "RUNNING" not in {run.status for run in (parent, *children_of(workspace.tracker, parent.run_id))}
