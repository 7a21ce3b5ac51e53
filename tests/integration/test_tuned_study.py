"""A study that searches first: run again it finds its searches, and a dry run says so."""

from pathlib import Path

import pytest
import yaml

from pipeline.comparison.selection import select_runs
from pipeline.config import MainConfig
from pipeline.stages import main
from pipeline.tracking.tags import Tag

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
        trained = [run for run in runs if run.stage == "train" and run.tags[Tag.TUNED_BY] == search.run_id]
        assert [run.tags.get(Tag.ENTRY, run.tags["strategy"]) for run in trained] == [name, name]
        assert {run.params["seed"] for run in trained} == {"42", "43"}
        assert {run.tags[Tag.TUNING_BUDGET] for run in trained} == {"2 trials"}
        assert all(run.metrics["test/f1_macro"] >= 0 for run in trained)
        assert search.parent_id == first.run_id
    assert select_runs(run for run in runs if run.stage == "train").ranked, "both were allowed the same"
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


def test_mistakes_in_the_searches_of_a_study_are_named_together_and_make_no_run(workspace):
    before = len(workspace.tracker.search())
    options = {"strategies": "head_only,bitfit", **workspace.options_of_data(), "tune": "true", "sampler": "grid"}
    result = workspace.cli("main", **options)
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.split())
    assert "learning_rate of head_only is continuous" in said
    assert "learning_rate of bitfit is continuous" in said
    assert len(workspace.tracker.search()) == before
