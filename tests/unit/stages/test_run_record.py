"""Which runs the stages after training take."""

from dataclasses import replace

import pytest

from pipeline.errors import RunError
from pipeline.stages.run_record import check_finished
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

TAGS = {"stage": "train", "strategy": "full", "data_fingerprint": "f", "config_hash": "c", str(Tag.SETTINGS_HASH): "s"}
TRAINED = Run("a" * 32, "full-seed42", "FINISHED", 1, None, TAGS, {}, {})


@pytest.mark.parametrize("stage", ["train", "trial"])
def test_a_training_that_finished_is_taken(stage):
    check_finished(replace(TRAINED, tags={**TAGS, "stage": stage}))


@pytest.mark.parametrize("lacking", sorted(TAGS))
def test_a_run_of_another_project_is_not_taken_for_ours(lacking):
    strange = replace(TRAINED, tags={tag: text for tag, text in TAGS.items() if tag != lacking})
    with pytest.raises(RunError, match="was made by another project, not by train"):
        check_finished(strange)


def test_another_stage_is_named():
    with pytest.raises(RunError, match="was made by the stage tune, not by train"):
        check_finished(replace(TRAINED, tags={**TAGS, "stage": "tune"}))


@pytest.mark.parametrize("lacking", ["strategy", "config_hash"])
def test_a_training_that_did_not_finish_is_told_how_to_go_on(lacking):
    """It may have ended before all its tags were written."""
    tags = {tag: text for tag, text in TAGS.items() if tag != lacking}
    with pytest.raises(RunError, match=r"its status is FAILED \(no memory\). Run the same train command again"):
        check_finished(replace(TRAINED, status="FAILED", tags={**tags, "status_detail": "no memory"}))
