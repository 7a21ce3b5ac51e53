"""A study of several trainings at once is the study of one after the other, whatever happens to its processes."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from pipeline.comparison.table import ANSWERING
from pipeline.config import CompareConfig, MainConfig
from pipeline.stages import compare, main
from pipeline.stages.study import loop
from pipeline.stages.study.tags import also_called
from pipeline.stages.study.tasks import TrainingTask
from pipeline.tracking.tags import CHECKSUM, Tag

pytestmark = pytest.mark.usefixtures("blank_pictures")

OF_THE_MOMENT = {"run_ids", "train_seconds", "cache_seconds", "peak_rss_mb", *ANSWERING}
OF_AN_ATTEMPT = {
    Tag.WORKERS,
    Tag.PREDICT_SETTING,
    Tag.PROCESS,
    Tag.FROZEN_PREFIX_CACHE,  # who needs it first builds it
    "git_commit",  # a process asks once, and another test may have changed a file then
    "mlflow.parentRunId",
    f"{CHECKSUM}environment.json",
    f"{CHECKSUM}config.json",  # the cache folder is in it
}
WHOLE = ("bitfit", 42)
"""What is killed once it is trained, before it can say so; `head_only` with that seed is killed before it has begun."""


class KilledTask(TrainingTask):
    """A training whose first process is killed, with one seed."""

    def run(self):
        strategy, seed = self.config.strategy, self.config.seed
        if seed != WHOLE[1] or self.is_repeated:
            return super().run()
        if strategy == WHOLE[0]:
            super().run()
        return os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def recipe(workspace):
    """Two strategies with two seeds, and a second entry that is equal to the first."""
    head = {"strategy": "head_only", "learning_rate": 1e-2}
    options = {**workspace.options, "epochs": 1, "seeds": 2}
    content = {"options": options, "strategies": {"head_only": head, "bitfit": {}, "the same": head}}
    Path("workers.yaml").write_text(yaml.safe_dump(content))
    return "workers.yaml"


@pytest.fixture(scope="module")
def one_by_one(workspace, recipe, in_this_process):
    """One after the other, on one thread like each of several: another number rounds sums otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main, "WorkerProcesses", in_this_process)
            return main.run(workspace.config(MainConfig, recipe=recipe))
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def at_once(workspace, recipe, one_by_one):
    """The study with two workers, of which two are killed; nothing of the first study's is reused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "TrainingTask", KilledTask)
        return main.run(workspace.config(MainConfig, recipe=recipe, workers=2, force="true", cache_dir="other"))


def trainings(workspace, study):
    """(strategy, seed) -> the run of the study."""
    runs = [run for run in workspace.tracker.search({"stage": "train"}) if run.parent_id == study.run_id]
    assert {run.status for run in runs} == {"FINISHED"}
    found = {(run.tags["strategy"], int(run.params["seed"])): run for run in runs}
    assert len(found) == len(runs) == 4, "none is trained twice: not what a lost process finished, and not what is equal"
    return found


def test_table_scores_and_runs_are_those_of_one_after_the_other(workspace, one_by_one, at_once):
    tables = [study.comparison.table for study in (one_by_one, at_once)]
    columns = [name for name in tables[0] if name not in OF_THE_MOMENT]
    pd.testing.assert_frame_equal(tables[0][columns], tables[1][columns], check_exact=True)
    assert {"f1_macro", "f1_macro_low", "group", "seeds"} <= set(columns)
    before, after = (trainings(workspace, study) for study in (one_by_one, at_once))
    assert before.keys() == after.keys()
    for key, run in before.items():
        assert {name: value for name, value in run.metrics.items() if not name.startswith("cost/")} == {
            name: value for name, value in after[key].metrics.items() if not name.startswith("cost/")
        }
        assert run.params | {"cache_dir": ""} == after[key].params | {"cache_dir": ""}
        assert run.tags.keys() == after[key].tags.keys()
        differing = {name for name, value in run.tags.items() if after[key].tags[name] != value}
        assert differing <= OF_AN_ATTEMPT
    order = [[workspace.tracker.get(run_id).params["seed"] for run_id in ids.split()] for ids in tables[1]["run_ids"]]
    assert order == [["42", "43"]] * len(order), "whichever ended first"


def test_what_is_lost_is_handed_out_again_and_nothing_is_left_open(workspace, at_once):
    study = workspace.tracker.get(at_once.run_id)
    assert (study.tags[Tag.EXECUTOR], study.tags[Tag.WORKERS]) == ("local", "2")
    below = [run for run in workspace.tracker.search() if run.parent_id == at_once.run_id]
    assert not [run for run in below if run.status in ("RUNNING", "FAILED")]


def test_an_entry_that_is_the_training_of_another_is_not_missing(workspace, one_by_one, at_once):
    for study in (one_by_one, at_once):
        shared = also_called(workspace.tracker.get(study.run_id), workspace.tracker)
        mine = trainings(workspace, study)
        assert shared == {mine["head_only", seed].run_id: ["the same"] for seed in (42, 43)}


def test_the_next_study_reuses_all_and_says_that_times_do_not_compare(workspace, recipe, at_once, capsys):
    before = len(workspace.tracker.search({"stage": "train"}))
    again = main.run(workspace.config(MainConfig, recipe=recipe, workers=3, cache_dir="other"))
    assert len(workspace.tracker.search({"stage": "train"})) == before
    out = capsys.readouterr().out
    assert out.count("reused, run") == 6
    assert "Trainings and tests run 3 at once on this machine (1 thread each)." in out
    assert "lanned and missing" not in out
    assert "the same: the same training as head_only, so the two have one row." in out
    assert again.comparison.table["f1_macro"].equals(at_once.comparison.table["f1_macro"])
    compare.run(CompareConfig(study=again.run_id))
