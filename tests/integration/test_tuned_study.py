"""A study that searches first: the best trial is the training of its seed, and run again it finds its searches."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from pipeline.comparison.selection import select_runs
from pipeline.config import CompareConfig, MainConfig
from pipeline.hashing import hash_file
from pipeline.stages import compare, main
from pipeline.stages.study.plan import plan_study
from pipeline.stages.study.resume import find_finished
from pipeline.stages.study.tags import reused_by
from pipeline.tracking.run_kinds import is_trial
from pipeline.tracking.tags import Tag
from pipeline.training.setup import find_inputs

pytestmark = pytest.mark.usefixtures("blank_pictures")


def dry_run(workspace, capsys, **options):
    before = len(workspace.tracker.search())
    capsys.readouterr()
    assert main.run(workspace.config(MainConfig, recipe="tuned.yaml", dry_run=True, **options)) is None
    assert len(workspace.tracker.search()) == before
    return capsys.readouterr().out


@pytest.mark.slow
def test_a_tuned_study_that_is_run_again_finds_its_searches(workspace, capsys):
    strategies = {"narrow": {"strategy": "partial", "strategy_args": {"top_k": 1}}, "linear_probe": {"space": {"C": [1.0]}}}
    options = {**workspace.options, "epochs": 1, "seeds": 2, "tune": True, "trials": 2}
    del options["learning_rate"]
    Path("tuned.yaml").write_text(yaml.safe_dump({"options": options, "strategies": strategies}))
    assert "search with a budget of 2 trials, then the winner with 2 seed(s)" in (out := dry_run(workspace, capsys))
    assert "Total: 7 to train, 0 reused" in out, "the probe has one point"
    assert not list(Path(".cache").glob("searches")), "a dry run begins no search"
    first = main.run(workspace.config(MainConfig, recipe="tuned.yaml"))
    runs = workspace.tracker.search()
    searches = {run.tags.get(Tag.ENTRY, run.tags["strategy"]): run for run in runs if run.stage == "tune"}
    assert set(searches) == {"narrow", "linear_probe"}
    for name, search in searches.items():
        trained = [run for run in runs if run.stage == "train" and run.tags.get(Tag.TUNED_BY) == search.run_id]
        assert {run.params["seed"]: (run.stage, is_trial(run)) for run in trained} == {
            "42": ("train", True),
            "43": ("train", False),
        }
        assert [run.tags.get(Tag.ENTRY, run.tags["strategy"]) for run in trained] == [name, name]
        assert {run.tags[Tag.TUNING_BUDGET] for run in trained} == {"2 trials"}
        assert all(run.metrics["test/f1_macro"] >= 0 for run in trained)
        assert search.parent_id == first.run_id
    assert select_runs(run for run in runs if run.stage in ("train", "trial")).ranked, "both were allowed the same"
    out = dry_run(workspace, capsys)
    assert out.count("search reused: run ") == 2
    assert all(run.run_id in out for run in searches.values())
    assert "Total: 0 to train, 6 reused; nothing is left to train" in out
    assert "Total: 7 to train, 0 reused" in dry_run(workspace, capsys, force=True)
    assert "Total: 8 to train, 0 reused" in dry_run(workspace, capsys, trials=3), "another budget is another search"
    again = main.run(workspace.config(MainConfig, recipe="tuned.yaml"))
    made = [run.stage for run in workspace.tracker.search() if run.run_id not in {run.run_id for run in runs}]
    assert sorted(made) == ["compare", "main", "prepare_data"]
    ranked = [(row.strategy, row.f1_macro) for row in first.comparison.table.itertuples()]
    assert [(row.strategy, row.f1_macro) for row in again.comparison.table.itertuples()] == ranked


def write_recipe(workspace, strategies, **more):
    options = {**workspace.options, "epochs": 1, "tune": True, "trials": 2, **more}
    del options["learning_rate"]
    Path("tuned.yaml").write_text(yaml.safe_dump({"options": options, "strategies": strategies}))


@pytest.fixture
def run_study(workspace, monkeypatch, in_this_process):
    """Runs the recipe's study in this process; returns its result and the runs that were made."""
    monkeypatch.setattr(main, "WorkerProcesses", in_this_process)

    def run_study(**options):
        before = {run.run_id for run in workspace.tracker.search()}
        result = main.run(workspace.config(MainConfig, recipe="tuned.yaml", **options))
        return result, [run for run in workspace.tracker.search() if run.run_id not in before]

    return run_study


def weights(workspace, run_id):
    return hash_file(workspace.tracker.download_model(run_id, Path("models", run_id)) / "delta.safetensors")


def test_the_best_trial_is_the_training_of_its_seed(workspace, run_study, capsys):
    write_recipe(workspace, {"partial": {"strategy_args": {"top_k": 1}}}, seeds=2, dropout=0.3)
    result, made = run_study(executor="local")
    [search] = [run for run in made if run.stage == "tune"]
    [trained] = [run for run in made if run.stage == "train" and not is_trial(run)]
    best = workspace.tracker.get(search.tags[Tag.BEST_RUN_ID])
    assert best.stage == "train", "who queries trainings finds it"
    assert (best.parent_id, best.params["seed"], trained.params["seed"]) == (search.run_id, "42", "43")
    assert f"partial (seed 42): reused, best trial {best.run_id} did the same." in (out := capsys.readouterr().out)
    assert "The best trial of its search, not trained again, as that would repeat it: partial (seed 42)." in out
    assert "earlier studies" not in out
    assert "Planned and missing" not in out
    assert reused_by(workspace.tracker.get(result.run_id), workspace.tracker) == {best.run_id: "partial"}
    [row] = result.comparison.table.to_dict("records")
    assert (row["seeds"], set(row["run_ids"].split())) == (2, {best.run_id, trained.run_id})
    assert row["f1_macro"] == pytest.approx((best.metrics["test/f1_macro"] + trained.metrics["test/f1_macro"]) / 2)
    _, again = run_study(executor="local")
    assert sorted(run.stage for run in again) == ["compare", "main", "prepare_data"]
    assert "partial (seed 42): reused, best trial" in capsys.readouterr().out
    assert list(compare.run(CompareConfig(study=result.run_id)).table["run_ids"]) == [row["run_ids"]]

    settings = {"strategy_args": "top_k=1", "epochs": 1, "dropout": 0.3, "learning_rate": best.params["learning_rate"]}
    alone = workspace.train(strategy="partial", **settings)
    assert weights(workspace, alone) == weights(workspace, best.run_id), "equal to the last bit"


def test_a_trial_is_no_training_where_it_would_be_another(workspace, run_study):
    """Trained beside another number, or with others at once, or before --force, or by a search with another budget."""
    write_recipe(workspace, {"partial": {"strategy_args": {"top_k": 1}}}, seeds=1, dropout=0.2)
    first, made = run_study(executor="local")
    assert sorted(run.stage for run in made if is_trial(run)) == ["train", "trial"]
    assert not [run for run in made if run.stage == "train" and not is_trial(run)]
    [search] = [run for run in made if run.stage == "tune"]
    best = workspace.tracker.get(search.tags[Tag.BEST_RUN_ID])
    plan = plan_study(workspace.config(MainConfig, recipe="tuned.yaml"))
    rate = float(best.params["learning_rate"])
    inputs = find_inputs(dataclasses.replace(plan.strategies[0].config, learning_rate=rate))
    tuned = {name: value for name, value in best.tags.items() if name in (Tag.TUNED_TRIALS, Tag.TUNING_BUDGET)}

    def find(**options):
        found = find_finished(workspace.tracker, inputs, plan.precision, **{"tuned": tuned, "workers": 1, **options})
        return found and found.run_id

    assert find(workers=2) == find() == find(below=first.run_id) == best.run_id, "a training as any other by now"
    workspace.tracker.open_for_update(best.run_id).set_tags({"stage": "trial"})
    assert find() == find(below=first.run_id) == best.run_id
    assert find(workers=2) is find(workers=None) is find(below="0" * 32) is find(tuned={}) is None
    assert find(tuned={**tuned, Tag.TUNED_TRIALS: "3"}) is None
    assert find_finished(workspace.tracker, plan.strategies[0], plan.precision, tuned=tuned, workers=1) is None

    forced, made = run_study(executor="local", force=True)
    [search] = [run for run in made if run.stage == "tune"]
    assert {run.stage for run in made} >= {"tune", "trial"}, "made again"
    assert set(reused_by(workspace.tracker.get(forced.run_id), workspace.tracker)) == {search.tags[Tag.BEST_RUN_ID]}
    workspace.tracker.open_for_update(search.run_id).finish("KILLED", "as if interrupted")
    _, made = run_study(executor="local", force=True)
    assert {run.stage for run in made} >= {"tune", "trial"}, "nor is a search taken over that another study began"


def test_a_trial_that_trained_with_others_at_once_is_trained_again(workspace, run_study):
    write_recipe(workspace, {"head_only": {}}, seeds=1)
    result, made = run_study(executor="batched")
    assert [run.stage for run in made].count("trial") == 2
    [trained] = [run for run in made if run.stage == "train"]
    assert list(result.comparison.table["run_ids"]) == [trained.run_id]


def test_mistakes_in_the_searches_of_a_study_are_named_together_and_make_no_run(workspace):
    before = len(workspace.tracker.search())
    options = {"strategies": "head_only,bitfit", **workspace.options_of_data(), "tune": "true", "sampler": "grid"}
    result = workspace.cli("main", **options)
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.split())
    assert "learning_rate of head_only is continuous" in said
    assert "learning_rate of bitfit is continuous" in said
    assert len(workspace.tracker.search()) == before
