"""Runs that an older version wrote are read, found and compared under today's names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import DamageError
from pipeline.stages.study.tags import doubts_in, note_doubts, note_reused, planned_in, reused_by, unfit_in
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.mlflow_runs import MlflowTracker
from pipeline.tracking.results import frame_of
from pipeline.tracking.run_kinds import configuration, count_processes, row_key
from pipeline.tracking.runs import Tracker
from pipeline.tracking.tags import _NEWER, PREFIX, TEXT_LIMIT, Tag, under_former_names

CONTRACT = {"stage": "train", "strategy": "full", "config_hash": "c"}
FORMER = {"settings_hash": "s", "base_sha256": "b", "num_processes": "2", "entry": "mine", "budget/train_seconds": "7"}
TODAY = {PREFIX + name: value for name, value in FORMER.items()}


@pytest.fixture(params=["memory", "mlflow"])
def tracker(request: pytest.FixtureRequest, empty_store: Path, tmp_path: Path) -> Tracker:
    if request.param == "memory":
        return MemoryTracker()
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    tracker = MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}")
    tracker.client.create_experiment("fairtune", artifact_location=(tmp_path / "artifacts").as_uri())
    return tracker


def test_an_older_run_is_read_as_one_of_today(tracker: Tracker) -> None:
    runs = {}
    for name, tags in (("older", FORMER), ("newer", TODAY)):
        logger = tracker.start(name, tags={**CONTRACT, **tags})
        logger.log_params({"objective": "siamese" if name == "older" else "bi_encoder"})
        runs[name] = tracker.get(logger.run_id)
    older, newer = runs["older"], runs["newer"]
    ours = {name: value for name, value in older.tags.items() if not name.startswith("mlflow.")}
    ours.pop(Tag.PROCESS, None)  # of who wrote it just now
    assert ours == CONTRACT | TODAY
    assert older.params == newer.params == {"objective": "bi_encoder"}
    assert (configuration(older), row_key(older), count_processes(older)) == (configuration(newer), row_key(newer), 2)
    columns = ["stage", "strategy", "settings_hash", "base_sha256", "num_processes", "entry", "objective"]
    frame = frame_of(tracker).set_index("run_name")[columns]
    assert frame.loc["older"].equals(frame.loc["newer"])
    assert frame.loc["older", "num_processes"] == 2
    assert not [column for column in frame_of(tracker) if column.startswith(PREFIX)]


def test_a_search_finds_older_and_newer_runs(tracker: Tracker) -> None:
    ids = [tracker.start("run", tags={**CONTRACT, **tags}).run_id for tags in (FORMER, TODAY, FORMER)]
    tracker.start("another", tags={**CONTRACT, **TODAY, Tag.NUM_PROCESSES: "1"})
    tracker.open_for_update(ids[2]).set_tags({Tag.SETTINGS_HASH: "changed since"})
    wanted = {"stage": "train", Tag.SETTINGS_HASH: "s", Tag.NUM_PROCESSES: "2"}
    found = tracker.search(wanted)
    assert sorted(run.run_id for run in found) == sorted(ids[:2]), "today's name counts where a run has both"
    assert [run.start_time for run in found] == sorted((run.start_time for run in found), reverse=True)
    assert len(tracker.search({"stage": "train"})) == 4


def test_the_lists_of_an_older_study_are_read(tracker: Tracker) -> None:
    planned = {f"planned/{number}": json.dumps([f"row {number}", 40 + number, 2], ensure_ascii=False) for number in (10, 2, 0)}
    tags = {"doubt/1": "b", "doubt/0": "a", "doubt/10": "c", "not_run/prefix": "no", "reused/1f": "full", "reused/2e": "lora"}
    study = tracker.start("study", tags={"stage": "main", **tags, **planned})
    run = tracker.get(study.run_id)
    assert doubts_in(run, tracker) == ("a", "b", "c")
    assert unfit_in(run, tracker) == {"prefix": "no"}
    assert reused_by(run, tracker) == {"1f": "full", "2e": "lora"}
    assert list(planned_in(run, tracker).items()) == [(f"row {n}", range(40 + n, 42 + n)) for n in (0, 2, 10)]
    note_reused(study, tracker, "3d", "bitfit")
    assert reused_by(tracker.get(study.run_id), tracker) == {"1f": "full", "2e": "lora", "3d": "bitfit"}


@pytest.mark.parametrize("length", [100, TEXT_LIMIT])
def test_a_list_that_no_tag_can_hold_is_an_artifact(tracker: Tracker, length: int) -> None:
    study = tracker.start("study", tags={"stage": "main"})
    doubts = ("x" * length, "기쁨", "a.json")
    note_doubts(study, doubts)
    run = tracker.get(study.run_id)
    assert doubts_in(run, tracker) == doubts
    assert tracker.has_artifact(study.run_id, "doubts.json") == (run.tags[Tag.DOUBTS] == "doubts.json") == (length > 100)


def test_an_older_text_is_held_against_its_checksum(tracker: Tracker, tmp_path: Path) -> None:
    logger = tracker.start("mine")
    logger.log_text("as it was", "note.txt")
    assert f"{PREFIX}sha256/note.txt" in tracker.get(logger.run_id).tags
    (tmp_path / "note.txt").write_text("as it was not")
    older = tracker.start("older", tags={"sha256/note.txt": tracker.get(logger.run_id).tags[f"{PREFIX}sha256/note.txt"]})
    older.log_file(tmp_path / "note.txt")
    with pytest.raises(DamageError, match=r"its artifact note\.txt is damaged"):
        tracker.download(older.run_id, "note.txt", tmp_path / "fetched")


def test_every_tag_of_ours_has_its_former_name() -> None:
    newer = set(_NEWER)
    assert Tag.WORKERS in newer
    lists = {Tag.PLANNED, Tag.REUSED, Tag.NOT_RUN, Tag.DOUBTS, *newer}
    assert set(under_former_names(dict.fromkeys(Tag, ""))) == {tag if tag in lists else tag.removeprefix(PREFIX) for tag in Tag}
