"""A study that is run again does what is not done yet, and nothing else. Trainings run in this process here."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import pipeline
from pipeline import code_version
from pipeline.config import CompareConfig, MainConfig
from pipeline.errors import PipelineError, TrainingError
from pipeline.stages import compare, evaluate, main, train
from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(autouse=True)
def in_process(monkeypatch, in_this_process):
    monkeypatch.setattr(main, "WorkerProcesses", in_this_process)


@pytest.fixture(scope="module")
def study(workspace):
    """Runs the study of two strategies and two seeds with changes; returns its run, and the trainings that were made."""
    shutil.copy(workspace.options["dataset"], "reviews.csv")

    def study(rates=(1e-2, 1e-2), **given):
        strategies = dict(zip(("head_only", "bitfit"), ({"learning_rate": rate} for rate in rates), strict=True))
        options = {**workspace.options, "dataset": "reviews.csv", "epochs": "1", "seeds": 2}
        Path("two.yaml").write_text(yaml.safe_dump({"options": options, "strategies": strategies}))
        before = {run.run_id for run in workspace.tracker.search()}
        main.run(workspace.config(MainConfig, recipe="two.yaml", **given))
        made = [run for run in workspace.tracker.search() if run.run_id not in before]
        (parent,) = [run for run in made if run.stage == "main"]
        return parent, sorted((run.tags["strategy"], run.params["seed"]) for run in made if run.stage == "train")

    return study


ALL = [("bitfit", "42"), ("bitfit", "43"), ("head_only", "42"), ("head_only", "43")]


@pytest.fixture(scope="module")
def first(study, in_this_process):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "WorkerProcesses", in_this_process)
        parent, made = study()
    assert made == ALL
    return parent


def rows(run_id):
    table = compare.run(CompareConfig(study=run_id)).table
    columns = ["strategy", "f1_macro", "f1_macro_std", "f1_macro_min", "seeds", "failed_seeds", "run_ids"]
    return table[columns].to_dict("records")


def test_each_strategy_is_trained_with_the_same_seeds(workspace, first):
    found = rows(first.run_id)
    assert [(row["seeds"], row["failed_seeds"]) for row in found] == [(2, 0), (2, 0)]
    for row in found:
        runs = [workspace.tracker.get(run_id) for run_id in row["run_ids"].split()]
        scores = [run.metrics["test/f1_macro"] for run in runs]
        assert row["f1_macro"] == pytest.approx(sum(scores) / 2)
        assert row["f1_macro_min"] == min(scores)
        assert len({run.tags["config_hash"] for run in runs}) == 2


def test_hidden_states_of_frozen_layers_are_shared_by_seeds(workspace, first):
    runs = [run for run in workspace.tracker.search({"strategy": "head_only"}) if run.parent_id == first.run_id]
    assert [run.tags[Tag.FROZEN_PREFIX_CACHE] for run in sorted(runs, key=lambda run: run.start_time)] == ["built", "found"]


def test_run_again_everything_is_reused_and_stands_in_the_new_table(workspace, study, first, capsys):
    parent, made = study()
    assert made == []
    assert "head_only (seed 43): reused, run" in capsys.readouterr().out
    assert len(json.loads(parent.tags[Tag.REUSED])) == 4
    assert not [run for run in workspace.tracker.search({"stage": "evaluate"}) if run.parent_id == parent.run_id]
    assert rows(parent.run_id) == rows(first.run_id)
    out = capsys.readouterr().out
    assert "Reused from earlier studies" in out
    assert "head_only (seed 42)" in out


def test_a_reused_run_is_called_as_the_study_calls_it_that_took_it(workspace, study, first, capsys):
    options = {**workspace.options, "dataset": "reviews.csv", "epochs": "1", "seeds": 2}
    entries = {"plain": {"strategy": "head_only", "learning_rate": 1e-2}, "bitfit": {"learning_rate": 1e-2}}
    for name in ("plain", "only_a_head"):
        Path("named.yaml").write_text(yaml.safe_dump({"options": options, "strategies": {name: entries["plain"]}}))
        before = len(workspace.tracker.search({"stage": "train"}))
        found = main.run(workspace.config(MainConfig, recipe="named.yaml"))
        assert len(workspace.tracker.search({"stage": "train"})) == before
        assert found.comparison.table["entry"].tolist() == [name]
    assert "entry" not in rows(first.run_id)[0]
    assert compare.run(CompareConfig(study=first.run_id)).table["entry"].tolist() == ["", ""]


def test_what_is_gone_is_not_exported_and_said(workspace, first, tmp_path, capsys):
    run = next(
        run
        for run in workspace.tracker.search({"stage": "train", "strategy": "bitfit"})
        if (run.parent_id, run.params["seed"]) == (first.run_id, "42")
    )
    artifacts = Path(workspace.client.get_run(run.run_id).info.artifact_uri.removeprefix("file://"))
    for name in ("predictions.csv", "model"):
        shutil.move(artifacts / name, tmp_path / name)
    try:
        compare.run(CompareConfig(study=first.run_id, export_dir=str(tmp_path / "exported")))
    finally:
        for name in ("predictions.csv", "model"):
            shutil.move(tmp_path / name, artifacts / name)
    out = capsys.readouterr().out
    assert "Not exported: predictions of bitfit (seed 42): Run " in out
    assert "Not exported: model of bitfit (seed 42): Run " in out
    seeds = {"bitfit_seed43", "head_only_seed42", "head_only_seed43"}
    assert {path.name for path in (tmp_path / "exported" / "models").iterdir()} == seeds
    outputs = {path.name for path in (tmp_path / "exported" / "results").glob("*_test_outputs.csv")}
    assert outputs == {f"{name}_test_outputs.csv" for name in seeds}


def test_a_changed_rate_makes_the_runs_of_its_strategy_again(study, first):
    parent, made = study(rates=(2e-2, 1e-2))
    assert made == [("head_only", "42"), ("head_only", "43")]
    assert {row["strategy"] for row in rows(parent.run_id)} == {"head_only", "bitfit"}


def test_one_more_seed_makes_the_runs_of_that_seed(study, first):
    assert study(seeds=3)[1] == [("bitfit", "44"), ("head_only", "44")]


def test_a_run_whose_model_is_gone_or_cut_short_is_made_again(workspace, study, first, tmp_path):
    runs = {
        (run.tags["strategy"], run.params["seed"]): run
        for run in workspace.tracker.search({"stage": "train"})
        if run.parent_id == first.run_id
    }

    def folder(key):
        uri = workspace.client.get_run(runs[key].run_id).info.artifact_uri
        return Path(uri.removeprefix("file://")) / "model" / "data"

    gone, short = ("head_only", "42"), ("bitfit", "43")
    shutil.move(folder(gone), tmp_path / "gone")
    delta = next(folder(short).rglob("delta.safetensors"))
    whole = delta.read_bytes()
    delta.write_bytes(whole[:-1])
    try:
        assert study()[1] == [short, gone]
    finally:
        shutil.move(tmp_path / "gone", folder(gone))
        delta.write_bytes(whole)


def test_predictions_that_are_gone_are_made_again(workspace, study, first, monkeypatch):
    run = next(run for run in workspace.tracker.search({"stage": "train"}) if run.parent_id == first.run_id)
    monkeypatch.setattr(type(workspace.tracker), "has_artifact", lambda self, run_id, path: run_id != run.run_id)
    assert not evaluate.is_evaluated(run, workspace.tracker)


def test_a_changed_file_makes_again_what_it_decides(workspace, study, first, tmp_path, monkeypatch):
    root = tmp_path / "pipeline"
    shutil.copytree(Path(pipeline.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_version, "ROOT", root)
    assert study()[1] == [], "the same files elsewhere are the same code"
    expected = {
        "strategies/methods/bitfit.py": (ALL[:2], 2),
        "comparison/plots.py": ([], 0),
        "evaluation/testing/calibration.py": ([], 4),
        "training/loop.py": (ALL, 4),
    }
    for name, (trained, tests) in expected.items():
        path = root / name
        path.write_text(path.read_text() + "\n# changed\n")
        code_version._read.cache_clear()
        parent, made = study()
        assert made == trained, name
        evaluated = [run for run in workspace.tracker.search({"stage": "evaluate"}) if run.parent_id == parent.run_id]
        assert len(evaluated) == tests, name


def test_forced_everything_is_made_again(study, first):
    assert study(force=True)[1] == ALL


def content():
    return hashlib.sha256(Path("mlflow.db").read_bytes()).hexdigest(), len(list(Path("artifacts").rglob("*")))


def test_a_dry_run_says_the_plan_and_leaves_the_store_as_it_is(workspace, study, first, capsys):
    study()
    before = content()
    capsys.readouterr()
    options = {"recipe": "two.yaml", "dry_run": True, "seeds": 3, "seed": 42}
    assert main.run(workspace.config(MainConfig, **options)) is None
    out = capsys.readouterr().out
    assert "6 to train, 0 reused" in main_line(workspace, {**options, "force": True}, capsys)
    assert content() == before
    plan, _, memory = out.partition("Forecast of peak memory")
    lines = [line for line in plan.splitlines() if line.startswith(("head_only", "bitfit"))]
    assert len(lines) == 6
    assert memory
    assert all("reused: run " in line for line in lines), "three seeds were trained by the test above"


def main_line(workspace, options, capsys):
    main.run(workspace.config(MainConfig, **options))
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Total"))


def test_a_dry_run_says_how_long_it_takes_and_where_that_is_unknown(workspace, study, first, capsys):
    study()
    line = main_line(workspace, {"recipe": "two.yaml", "dry_run": True, "epochs": 2}, capsys)
    assert line.startswith("Total: 4 to train, 0 reused; about ")
    assert "unknown" not in line
    options = {"recipe": "two.yaml", "dry_run": True, "strategies": "head_only,ia3", "epochs": 2}
    assert "2 of unknown duration" in main_line(workspace, options, capsys)
    tuned = main_line(workspace, {"recipe": "two.yaml", "dry_run": True, "tune": True, "trials": 3}, capsys)
    assert tuned.startswith("Total: 10 to train")


def test_runs_by_another_number_of_processes_are_not_reused(workspace, study, first, capsys):
    study()
    options = {"recipe": "two.yaml", "dry_run": True}
    assert main_line(workspace, options, capsys).startswith("Total: 0 to train, 4 reused;")
    assert main_line(workspace, {**options, "num_processes": 2}, capsys).startswith("Total: 4 to train, 0 reused;")


def test_a_dry_run_makes_no_store(workspace, study, first, tmp_path, monkeypatch, capsys):
    study()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    assert workspace.cli("main", recipe="two.yaml", dry_run="true").exit_code == 0
    assert not list(tmp_path.iterdir())


def test_failed_seeds_are_shown(workspace, study, first, monkeypatch, capsys):
    def train_or_fail(config, **keywords):
        if (config.strategy, config.seed) == ("bitfit", 44):
            keywords["fit_with"] = fail
        return train_run(config, **keywords)

    def fail(plan, callback):
        raise TrainingError("The training loss became nan by step 3.")

    train_run = train.run
    monkeypatch.setattr(train, "run", train_or_fail)
    with pytest.raises(
        PipelineError, match=r"1 training\(s\) of strategies in the table failed.*bitfit: .* nan .* \(seed 44\)"
    ):
        study(seeds=3, force=True, strategies="head_only,bitfit")
    out = capsys.readouterr().out
    assert "bitfit: 1 of 3 seeds failed (44)" in out
    found = {row["strategy"]: (row["seeds"], row["failed_seeds"]) for row in rows(newest_study(workspace))}
    assert found == {"bitfit": (2, 1), "head_only": (3, 0)}


def newest_study(workspace):
    return next(run.run_id for run in workspace.tracker.search({"stage": "main"}))


def test_tuned_and_untuned_runs_do_not_stand_in_for_one_another(workspace, first):
    from pipeline.stages.study.plan import plan_study
    from pipeline.stages.study.resume import find_finished

    plan = plan_study(workspace.config(MainConfig, recipe="two.yaml"))
    inputs = plan.strategies[0]
    assert find_finished(workspace.tracker, inputs, plan.precision) is not None
    assert find_finished(workspace.tracker, inputs, plan.precision, tuned={Tag.TUNED_TRIALS: "12"}) is None
    assert find_finished(workspace.tracker, inputs, "bf16") is None


def test_what_was_made_again_is_not_reused(workspace, first):
    from pipeline.stages.study.plan import plan_study
    from pipeline.stages.study.resume import find_finished

    plan = plan_study(workspace.config(MainConfig, recipe="two.yaml"))
    inputs = plan.strategies[0]
    found = find_finished(workspace.tracker, inputs, plan.precision)
    workspace.tracker.open_for_update(found.run_id).set_tags({Tag.REPRODUCES: "0" * 32})
    other = find_finished(workspace.tracker, inputs, plan.precision)
    assert other is None or other.run_id != found.run_id
    workspace.client.delete_tag(found.run_id, Tag.REPRODUCES)
    assert find_finished(workspace.tracker, inputs, plan.precision).run_id == found.run_id


def test_a_study_reads_the_columns_of_its_second_data_set(workspace, study, first):
    table = pd.read_csv("reviews.csv").rename(columns={"text": "body", "label": "verdict"})
    table.to_csv("second.csv", index=False)
    asked = {"transfer_dataset": "second.csv", "transfer_text_column": "body", "transfer_label_column": "verdict"}
    parent, made = study(**asked)
    assert made == []
    assert compare.run(CompareConfig(study=parent.run_id)).table["transfer_f1_macro"].notna().all()


# Last: the data are others afterwards.
def test_a_changed_row_makes_everything_again(study, first):
    text = Path("reviews.csv").read_text()
    Path("reviews.csv").write_text(text.replace("word5", "word6", 1))
    assert study()[1] == ALL
