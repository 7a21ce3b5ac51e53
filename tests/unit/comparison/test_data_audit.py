import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.comparison.data_audit import DataAudit, read_audit, tabulate_audit
from pipeline.comparison.selection import Selection
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
MANIFEST: Mapping[str, Any] = {
    "classes": ["neg", "pos"],
    "rows": {"train": 30, "test": 10},
    "rows_by_class": {"train": [20, 10], "test": [5, 5]},
    "dropped": {"missing text": 3},
    "audit": {
        "duplicates_within": {"train": 2, "test": 0},
        "duplicates_across": {"train/test": 1},
        "conflicting_labels": 4,
    },
}
OVERLAP = {"data/overlap_train_test_leaking": 2.5}


def prepare(tracker: MemoryTracker, fingerprint: str, manifest: str) -> None:
    logger = tracker.start("prepare")
    logger.set_tags({"stage": "prepare_data", "data_fingerprint": fingerprint})
    logger.log_text(manifest, "manifest.json")
    logger.finish("FINISHED")


def test_it_is_read_from_a_preparation_of_the_same_data(make_run: MakeRun) -> None:
    tracker = MemoryTracker()
    prepare(tracker, "f" * 64, json.dumps(MANIFEST))
    prepare(tracker, "0" * 64, json.dumps({"rows": {"train": 1}}))
    prepare(tracker, "f" * 64, "damaged")
    selection = Selection((make_run("external", tags={"stage": "evaluate"}), make_run("full", metrics=OVERLAP)), ())
    found = read_audit(selection, tracker)
    assert found == DataAudit(OVERLAP, MANIFEST)
    assert found.rows_by_class("train") == {"neg": 20, "pos": 10}
    assert (found.count("duplicates_across"), found.conflicting_labels) == ({"train/test": 1}, 4)


def test_it_is_read_from_a_training_where_nobody_prepared(make_run: MakeRun) -> None:
    tracker = MemoryTracker()
    logger = tracker.start("full")
    logger.log_text(json.dumps(MANIFEST), "manifest.json")
    trained = dataclasses.replace(make_run("full"), run_id=logger.run_id)
    selection = Selection((make_run("external", tags={"stage": "evaluate"}), trained), ())
    assert read_audit(selection, tracker).manifest == MANIFEST


def test_a_store_without_one_says_nothing(make_run: MakeRun) -> None:
    found = read_audit(Selection((make_run("full"),), ()), MemoryTracker())
    assert found == DataAudit()
    assert (found.rows, found.conflicting_labels) == ({}, None)
    assert tabulate_audit(found).empty


def test_the_table_has_a_line_per_figure() -> None:
    assert tabulate_audit(DataAudit(OVERLAP, MANIFEST)).to_numpy().tolist() == [
        ["train", "rows", "", 30],
        ["train", "rows_of_class", "neg", 20],
        ["train", "rows_of_class", "pos", 10],
        ["test", "rows", "", 10],
        ["test", "rows_of_class", "neg", 5],
        ["test", "rows_of_class", "pos", 5],
        ["train", "duplicates_within", "", 2],
        ["test", "duplicates_within", "", 0],
        ["train/test", "duplicates_across", "", 1],
        ["all", "conflicting_labels", "", 4],
        ["all", "dropped: missing text", "", 3],
        ["train/test", "overlap_leaking_percent", "", 2.5],
    ]
