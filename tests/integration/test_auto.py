"""`strategy=auto` is the strategy that it takes, and says why and on what that rests."""

import dataclasses

import pytest

from pipeline import load_results
from pipeline.config import TrainConfig, TuneConfig
from pipeline.config.fields import as_dict
from pipeline.errors import ConfigError
from pipeline.stages.auto.advice import Advice
from pipeline.stages.configure import configure, resolve_strategy
from pipeline.tracking.tags import Tag

SETTINGS = "options: {epochs: 2}\nstrategies:\n  freeze_bottom: {learning_rate: 5e-4, epochs: 9}\n"


def test_the_run_is_that_of_the_strategy_taken(workspace, capsys):
    run = workspace.tracker.get(workspace.train(strategy="auto", auto="rule", max_train_samples=50))
    reason = "50 training examples, fewer than 100: freeze the bottom three quarters of the layers"
    assert f"auto takes freeze_bottom, bottom=0.75: {reason}." in capsys.readouterr().out
    assert (run.tags["strategy"], run.params["strategy"], run.tags[Tag.STRATEGY_REASON]) == ("freeze_bottom",) * 2 + (reason,)
    assert run.tags["mlflow.note.content"].endswith(f"Chosen by auto: {reason}.")
    assert float(run.params["bottom"]) == 0.75
    results = load_results().set_index("run_id")
    assert results.loc[run.run_id, "strategy_reason"] == reason
    named = workspace.config(strategy="freeze_bottom", strategy_args="bottom=0.75", max_train_samples=50)
    other = workspace.tracker.get(workspace.train(**named_options(named)))
    assert other.tags[Tag.SETTINGS_HASH] == run.tags[Tag.SETTINGS_HASH]
    assert Tag.STRATEGY_REASON not in other.tags
    assert workspace.evaluate(run.run_id).test["accuracy"] >= 0


def named_options(config):
    return {"strategy": config.strategy, "strategy_args": "bottom=0.75", "max_train_samples": config.max_train_samples}


def test_the_recipes_settings_of_the_strategy_taken_apply_and_what_was_typed_stays(workspace):
    (workspace.folder / "mine.yaml").write_text(SETTINGS)
    data = workspace.options_of_data() | {"recipe": "mine.yaml", "max_train_samples": "50", "auto": "rule"}
    found = resolve_strategy(configure(TuneConfig, {**data, "strategy": "auto", "trials": "3", "batch_size": "4"}))
    assert (found.strategy, found.learning_rate, found.epochs, found.trials, found.batch_size) == (
        "freeze_bottom",
        5e-4,
        2,
        3,
        4,
    )
    assert "bottom" not in found.explicit
    typed = resolve_strategy(configure(TuneConfig, {**data, "strategy": "auto", "learning_rate": "1e-3"}))
    assert typed.learning_rate == 1e-3
    more = resolve_strategy(workspace.config(strategy="auto", auto="rule"))
    assert more.strategy == "discriminative"
    named = workspace.config(strategy="full")
    assert resolve_strategy(named) is named


def test_arguments_of_a_strategy_that_is_not_known_yet_are_refused(workspace):
    with pytest.raises(ConfigError, match="--strategy-args: --strategy auto finds its arguments itself"):
        workspace.config(strategy="auto", strategy_args="top_k=2")


def test_whatever_else_the_config_says_stays(workspace):
    config = workspace.config(strategy="auto", auto="rule", batch_size=4, seed=7)
    found = resolve_strategy(dataclasses.replace(config, explicit=()))
    changed = {"strategy", "strategy_args", "strategy_reason", "explicit"}
    assert {name: value for name, value in as_dict(found).items() if name not in changed} == {
        name: value for name, value in as_dict(config).items() if name not in changed
    }


def test_a_limit_that_decides_the_advice_holds_for_the_training_too(workspace):
    (workspace.folder / "few.yaml").write_text("strategies:\n  auto: {max_train_samples: 80}\n")
    options = {**workspace.options_of_data(), "recipe": "few.yaml", "strategy": "auto", "auto": "rule"}
    found = resolve_strategy(configure(TuneConfig, options))
    assert (found.strategy, found.max_train_samples) == ("freeze_bottom", 80)


def test_without_a_study_the_projects_table_is_asked_and_far_from_it_the_rule(workspace, capsys):
    data = {**workspace.options_of_data(), "strategy": "auto"}
    found = resolve_strategy(configure(TrainConfig, {**data, "max_train_samples": "40"}))
    assert "in the table of this project, of other data (" in found.strategy_reason
    assert "with 32 training examples (40 here, 1.25 times as many)" in found.strategy_reason
    assert f"auto takes {found.strategy}" in capsys.readouterr().out
    few = resolve_strategy(configure(TrainConfig, {**data, "max_train_samples": "7"}))
    assert few.strategy_reason.startswith("7 training examples, fewer than 100")


def test_after_a_study_its_winner_by_validation_scores_is_taken_with_its_settings(workspace):
    (workspace.folder / "two.yaml").write_text(
        "options: {seeds: 1, max_length: 64, head: mean}\nstrategies:\n  majority:\n  linear_probe: {strategy_args: {C: 10}}\n"
    )
    study = {**workspace.options_of_data(), "recipe": "two.yaml", "max_train_samples": "60", "latency_seconds": "0"}
    assert workspace.cli("main", **study).exit_code == 0
    runs = {run.tags["strategy"]: run for run in workspace.tracker.search({"stage": "train"}) if run.parent_id}
    scores = {name: run.metrics["val/f1_macro"] for name, run in runs.items()}
    assert scores["linear_probe"] > scores["majority"], "else this shows nothing"
    where = f"in study {runs['majority'].parent_id}, of the same data, with 60 training examples (30 here, 2 times as few)"
    for command in ({"dry_run": "true"}, {}):
        done = workspace.cli("train", **workspace.options_of_data(), strategy="auto", max_train_samples="30", **command)
        assert done.exit_code == 0, done.output
        assert where in " ".join(done.output.split())
    taken = workspace.tracker.search({"stage": "train"})[0]
    assert {name: taken.params[name] for name in ("strategy", "head", "C", "max_train_samples")} == {
        "strategy": "linear_probe",
        "head": "mean",
        "C": "10.0",
        "max_train_samples": "30",
    }
    score = f"{scores['linear_probe']:.3f}"
    assert taken.tags[Tag.STRATEGY_REASON].startswith(f"best of 2 strategies by its validation macro F1 of {score} (1 seed)")
    typed = resolve_strategy(workspace.config(strategy="auto", head="pooler"))
    assert (typed.strategy, typed.head) == ("linear_probe", "pooler")


def test_a_baseline_is_passed_over_where_an_option_of_an_encoder_is_typed(workspace, monkeypatch):
    advice = [Advice("tfidf", "first", options={}), Advice("full", "second", options={"epochs": "4"})]
    monkeypatch.setattr("pipeline.stages.auto.measured.advise_by_study", lambda *_: advice)
    data = {"dataset": workspace.options["dataset"], "strategy": "auto"}
    assert resolve_strategy(configure(TrainConfig, data)).strategy == "tfidf"
    found = resolve_strategy(configure(TrainConfig, {**data, "model": workspace.options["model"]}))
    assert (found.strategy, found.epochs, found.strategy_reason) == ("full", 4, "second")
