"""`strategy=auto` is the strategy that it takes, and says why."""

import dataclasses

import pytest

from pipeline import load_results
from pipeline.config import TuneConfig
from pipeline.config.fields import as_dict
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure, resolve_strategy
from pipeline.tracking.tags import Tag

SETTINGS = "options: {epochs: 2}\nstrategies:\n  freeze_bottom: {learning_rate: 5e-4, epochs: 9}\n"


def test_the_run_is_that_of_the_strategy_taken(workspace, capsys):
    run = workspace.tracker.get(workspace.train(strategy="auto", max_train_samples=50))
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
    data = workspace.options_of_data() | {"recipe": "mine.yaml", "max_train_samples": "50"}
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
    more = resolve_strategy(workspace.config(strategy="auto"))
    assert more.strategy == "discriminative"
    named = workspace.config(strategy="full")
    assert resolve_strategy(named) is named


def test_arguments_of_a_strategy_that_is_not_known_yet_are_refused(workspace):
    with pytest.raises(ConfigError, match="--strategy-args: --strategy auto finds its arguments itself"):
        workspace.config(strategy="auto", strategy_args="top_k=2")


def test_whatever_else_the_config_says_stays(workspace):
    config = workspace.config(strategy="auto", batch_size=4, seed=7)
    found = resolve_strategy(dataclasses.replace(config, explicit=()))
    changed = {"strategy", "strategy_args", "strategy_reason", "explicit"}
    assert {name: value for name, value in as_dict(found).items() if name not in changed} == {
        name: value for name, value in as_dict(config).items() if name not in changed
    }


def test_a_limit_that_decides_the_advice_holds_for_the_training_too(workspace):
    (workspace.folder / "few.yaml").write_text("strategies:\n  auto: {max_train_samples: 80}\n")
    found = resolve_strategy(configure(TuneConfig, {**workspace.options_of_data(), "recipe": "few.yaml", "strategy": "auto"}))
    assert (found.strategy, found.max_train_samples) == ("freeze_bottom", 80)
