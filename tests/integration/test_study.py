"""tune and main: nested runs in processes of their own."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline import load_results
from pipeline.config import CompareConfig, MainConfig, TuneConfig
from pipeline.errors import PipelineError
from pipeline.stages import compare, main, tune
from pipeline.stages.search.loop import SearchLoop
from pipeline.stages.study import loop
from pipeline.stages.study.tags import planned_in
from pipeline.stages.study.tasks import TrainingTask
from pipeline.tracking import open_tracker
from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.usefixtures("blank_pictures")

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
    assert (parent.stage, parent.status, parent.tags[Tag.BEST_RUN_ID]) == ("tune", "FINISHED", result.best_run_id)
    assert len(trials) == result.trials == 2
    assert {trial.stage for trial in trials} == {"trial"}
    assert {trial.tags[Tag.FROZEN_PREFIX_CACHE] for trial in trials} == {"unused"}
    assert {float(trial.params["learning_rate"]) for trial in trials} == {1e-3, 1e-2}
    assert {trial.run_id for trial in trials if holds_model(workspace, trial.run_id)} == {result.best_run_id}
    scores = {trial.run_id: trial.metrics["val/accuracy"] for trial in trials}
    assert result.best_score == scores[result.best_run_id] == max(scores.values())
    assert parent.metrics["best/val_accuracy"] == result.best_score
    winner = tracker.get(result.best_run_id)
    assert {name: winner.tags[name] for name in result.tags} == dict(result.tags)
    assert (winner.tags[Tag.TUNING_BUDGET], winner.tags[Tag.BUDGET_EXAMPLES]) == ("2 trials", "320")
    assert (parent.metrics["budget/trials"], parent.metrics["budget/examples"]) == (2, 320)
    artifacts = {item.path for item in workspace.client.list_artifacts(result.run_id)}
    assert artifacts >= {"space.json", "trials.csv", "trials.png", "expected_best.png"}
    assert not list(Path(".cache/searches").glob("*/trials/*")), "models of trials do not stay"
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
    first = int(parent.params["seed"])
    assert planned_in(parent, workspace.tracker) == dict.fromkeys(("head_only", "full", "partial"), range(first, first + 1))
    found = {(run.stage, run.tags.get("strategy")): run for run in children_of(workspace.tracker, parent.run_id)}
    assert {("prepare_data", None), ("train", "head_only"), ("train", "partial"), ("compare", None)} <= found.keys()
    assert found["train", "full"].status == "FAILED"
    for strategy in ("head_only", "partial"):
        assert "test/f1_macro" in found["train", strategy].metrics
        assert found["train", strategy].params["epochs"] == "1", "what is typed beats the recipe"
    assert float(found["train", "head_only"].params["learning_rate"]) == 1e-2
    assert found["train", "partial"].params["top_k"] == "1"


def test_a_studys_own_run_carries_its_outcome_and_is_no_row(workspace, study):
    tracker = workspace.tracker
    (parent,) = [run for run in tracker.search() if run.stage == "main"]
    assert parent.name.startswith("study")
    found = {run.stage: run for run in children_of(tracker, parent.run_id)}["compare"]
    assert found.name == f"compare-{parent.name}"
    summary = pd.read_csv(tracker.download(found.run_id, "model_summary.csv", Path("summary"))).set_index("strategy")
    for name in ("head_only", "partial"):
        for column in ("f1_macro", "f1_macro_low", "f1_macro_high", "train_seconds"):
            assert parent.metrics[f"study/{name}/{column}"] == pytest.approx(summary.loc[name, column])
    assert not any("full" in name for name in parent.metrics), "it failed"
    said = parent.tags["mlflow.note.content"]
    assert said.startswith("Nothing can be said of how the strategies rank: there is no row that learned.")
    assert f"/runs/{found.run_id}/artifacts/report.html?workflowType=machine_learning)" in said
    inputs = workspace.client.get_run(parent.run_id).inputs.dataset_inputs
    assert [entry.dataset.name.rpartition("-")[2] for entry in inputs] == ["train", "validation", "test"]
    rows = load_results()
    assert rows.loc[rows["run_id"] == parent.run_id, "test/f1_macro"].isna().all()
    assert parent.run_id not in " ".join(compare.run(CompareConfig(study="all")).table["run_ids"])


def test_the_export_has_the_studys_layout(study):
    exported = {str(path.relative_to("export")) for path in Path("export").rglob("*")}
    for strategy in ("head_only", "partial"):
        assert {f"results/{strategy}_test_outputs.csv", f"models/{strategy}/model.json"} <= exported
        assert list(pd.read_csv(f"export/results/{strategy}_test_outputs.csv")) == ["sentence", "gold", "pred"]
    assert list(pd.read_csv("export/results/model_summary.csv")["strategy"].sort_values()) == ["head_only", "partial"]
    report = Path("export/results/results.md").read_text()
    assert "The parts and their classes" in report, "as prepare_data has recorded them"
    assert "Whether test overlaps train was not measured" not in report


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


class BreakingTask(TrainingTask):
    """A training of which one strategy meets an error that nobody foresaw, with its run open."""

    def run(self):
        if self.config.strategy != "full":
            return super().run()
        open_tracker().start("broken", self.parent_id, self.tags).set_tags({"strategy": "full"})
        raise RuntimeError("no kernel")


def test_a_study_goes_on_after_an_error_that_nobody_foresaw(workspace, monkeypatch):
    recipe = write_recipe("two.yaml", options={**workspace.options, "seeds": 1}, strategies={"full": {}, "head_only": {}})
    monkeypatch.setattr(loop, "TrainingTask", BreakingTask)
    with pytest.raises(PipelineError, match=r"1 of 2 strategies failed .* full: RuntimeError: no kernel"):
        main.run(workspace.config(MainConfig, recipe=recipe, epochs=1))
    parent = next(run for run in workspace.tracker.search() if run.stage == "main")
    found = {run.tags["strategy"]: run for run in children_of(workspace.tracker, parent.run_id) if run.stage == "train"}
    assert (found["full"].status, found["full"].tags["status_detail"]) == ("FAILED", "RuntimeError: no kernel.")
    assert "test/f1_macro" in found["head_only"].metrics
    assert "RUNNING" not in {run.status for run in (parent, *children_of(workspace.tracker, parent.run_id))}


def count_runs(workspace):
    return len(workspace.tracker.search())


def test_a_finished_search_is_not_made_again_unless_forced(workspace, capsys):
    recipe = write_recipe("one.yaml", options=workspace.options, space={"learning_rate": [2e-3]})
    options = {"strategy": "head_only", "trials": 3, "recipe": recipe, "epochs": 1, "storage": "sqlite:///ours.db"}
    first = tune.run(workspace.config(TuneConfig, **options, study_name="ours"))
    assert first.trials == 1, "all points are run where there are fewer than trials"
    assert first.tags[Tag.TUNING_BUDGET] == "3 trials", "what was allowed"
    runs = count_runs(workspace)
    capsys.readouterr()
    again = tune.run(workspace.config(TuneConfig, **options, study_name="ours"))
    assert again == first
    said = capsys.readouterr().out
    assert f"best of 1 trials has validation accuracy {first.best_score:.4f} with learning_rate=0.002" in said
    assert f"python -m pipeline evaluate --run-id {first.best_run_id}" in said
    other = workspace.cli("tune", **options, study_name="ours", seed=7)
    assert other.exit_code == 2
    assert "holds another search under this name" in other.output
    assert count_runs(workspace) == runs
    forced = tune.run(workspace.config(TuneConfig, **options, study_name="ours", force="true"))
    assert forced.run_id != first.run_id
    assert forced.best_score == first.best_score
    assert count_runs(workspace) == runs + 2


def test_two_workers_share_out_trials_within_a_budget_of_examples(workspace):
    space = {"learning_rate": [1e-3, 3e-3, 1e-2, 3e-2], "epochs": [1, 2]}
    recipe = write_recipe("budget.yaml", options=workspace.options, space=space)
    result = tune.run(workspace.config(TuneConfig, strategy="head_only", recipe=recipe, budget_examples=700, workers=2))
    trials = [run for run in children_of(workspace.tracker, result.run_id) if run.stage == "trial"]
    assert {run.status for run in trials} == {"FINISHED"}
    assert sum(run.metrics["cost/examples"] for run in trials) == float(result.tags[Tag.BUDGET_EXAMPLES]) <= 700
    assert len(trials) == result.trials >= 2
    table = pd.read_csv(workspace.tracker.download(result.run_id, "trials.csv", Path("budget")))
    assert list(table["state"])[: len(trials)] == ["complete"] * len(trials)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "--trials: got '0'"),
        ({"metric_for_best_model": "acuracy"}, "--metric-for-best-model"),
        ({"learning_rate": 0.1}, "The space of head_only is empty: --learning-rate was typed"),
        ({"space": "recipe"}, "--space recipe: the recipe quickstart has no space for head_only"),
        ({"sampler": "grid"}, "--sampler grid: learning_rate of head_only is continuous"),
        ({"sampler": "grid", "space": "study"}, "--sampler grid: the grid has 54 points, and the budget is 12 trials"),
        ({"executor": "locale"}, "--executor: Unknown executor 'locale'. Did you mean 'local'?"),
        ({"executor": "batched", "pruner": "halving"}, "--executor batched: --pruner halving ends trials one by one."),
        ({"executor": "batched", "sampler": "tpe"}, "--executor batched: the points of --sampler tpe"),
        ({"executor": "batched", "strategy": "bitfit"}, "--executor batched: the trials of bitfit do not train at once"),
        ({"storage": "sqlite:////nowhere/at/all.db"}, "--storage sqlite:////nowhere/at/all.db: cannot be opened"),
        ({"study_name": "../up"}, "--study-name '../up'"),
        ({"budget_examples": 10}, "--budget-examples 10: one trial sees 320 examples at least."),
        ({"trials": 3, "budget_seconds": 5}, "--budget-seconds and --trials: which budget?"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_mistakes_in_a_search_are_named_and_make_no_run(workspace, options, message):
    before = count_runs(workspace)
    result = workspace.cli("tune", **{"strategy": "head_only", **workspace.options_of_data(), **options})
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert count_runs(workspace) == before


def test_an_unknown_key_of_a_space_is_named(workspace):
    recipe = write_recipe("keys.yaml", options=workspace.options, space={"rank": [4], "seed": [1, 2]})
    result = workspace.cli("tune", strategy="lora", recipe=recipe)
    assert result.exit_code == 2
    assert "Unknown option or argument of lora 'rank'" in result.output
    assert "'seed' decides what trials are compared on" in result.output


def test_a_new_run_of_mlflow_takes_an_interrupted_search_over(workspace, monkeypatch):
    recipe = write_recipe("taken.yaml", options=workspace.options, space={"learning_rate": [1e-3, 2e-3, 3e-3]})
    config = workspace.config(TuneConfig, strategy="head_only", recipe=recipe, epochs=1)
    real = SearchLoop._end

    def die_after_two(self, outcome):
        real(self, outcome)
        if len([trial for trial in self._trials.values() if trial.state == "complete"]) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SearchLoop, "_end", die_after_two)
        with pytest.raises(KeyboardInterrupt):
            tune.run(config)
    old = next(run for run in workspace.tracker.search() if run.stage == "tune")
    assert old.status == "KILLED"
    given = workspace.client.create_run(workspace.client.get_run(old.run_id).info.experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    result = tune.run(config)
    tracker = workspace.tracker
    assert result.run_id == given
    assert tracker.get(given).tags["resumes"] == old.run_id
    assert {run.tags[Tag.TRIAL] for run in children_of(tracker, given)} == {"1", "2", "3"}
    assert {run.status for run in children_of(tracker, given)} == {"FINISHED"}
    assert children_of(tracker, old.run_id) == []
    assert given in tracker.get(old.run_id).tags["status_detail"]


@pytest.mark.slow
def test_halving_ends_trials_and_says_so(workspace):
    space = {"learning_rate": [1e-5, 1e-4, 1e-3, 1e-2]}
    recipe = write_recipe("halved.yaml", options=workspace.options, space=space)
    result = tune.run(workspace.config(TuneConfig, strategy="head_only", recipe=recipe, epochs=4, pruner="halving"))
    trials = children_of(workspace.tracker, result.run_id)
    ended = [run for run in trials if Tag.PRUNED_AT in run.tags]
    assert ended
    assert all(run.metrics["cost/examples"] < 4 * 160 for run in ended)
    assert result.best_run_id not in {run.run_id for run in ended}
    assert result.tags[Tag.TUNING_BUDGET] == "12 trials, halving"
    drawn = {item.path for item in workspace.client.list_artifacts(result.run_id)}
    assert "trials.png" in drawn
    assert "expected_best.png" not in drawn, "the scores of what was ended early are missing"


def test_encoders_are_compared_in_one_table_and_one_failure_does_not_stop_the_others(workspace, tiny):
    models = [str(tiny.folder(family)) for family in ("bert", "distilbert")]
    options = {"models": models, "dataset": workspace.options["dataset"], "epochs": 1, "seeds": 1, "precision": "fp32"}
    broken = {"strategy": "full", "model": models[1], "learning_rate": 1e30}
    recipe = write_recipe("encoders.yaml", options=options, strategies={"full": {}, "prefix": {}, "broken": broken})
    with pytest.raises(PipelineError, match="1 of 4 strategies failed") as caught:
        main.run(workspace.config(MainConfig, recipe=recipe, export_dir="encoders"))
    assert "broken, distilbert: " in str(caught.value)
    table = pd.read_csv("encoders/results/model_summary.csv")
    assert sorted(zip(table["strategy"], table["model"], strict=True)) == sorted(
        [("full", models[0]), ("full", models[1]), ("prefix", models[0])]
    )
    assert list(table["f1_macro"]) == sorted(table["f1_macro"], reverse=True), "ranked together"
    report = Path("encoders/results/results.md").read_text(encoding="utf-8")
    assert "full, distilbert" in report
    assert "prefix, distilbert: cannot be run here: prefix cannot work on distilbert" in report
