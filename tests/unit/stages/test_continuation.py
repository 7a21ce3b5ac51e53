import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import MainConfig
from pipeline.errors import PipelineError, StoreAwayError, TrainingError
from pipeline.stages.study.resume import find_interrupted_study, open_study
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.runs import store_patience


@dataclasses.dataclass(frozen=True)
class Plan:
    """In place of a `StudyPlan`, whose identity follows from much more."""

    config: MainConfig
    identity: str = "one"


class GivenTracker(MemoryTracker):
    """As if `mlflow run` had made a run for us."""

    given: str | None = None

    def assigned_run_id(self) -> str | None:
        return self.given


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return Plan(MainConfig(cache_dir=str(tmp_path)))


def interrupt(plan: Any, tracker: MemoryTracker) -> str:
    """A study that never came to close its run, as if killed."""
    with contextlib.suppress(KeyboardInterrupt), open_study(plan, tracker) as logger:
        tracker.start("train", logger.run_id)
        raise KeyboardInterrupt
    tracker.update(logger.run_id, status="RUNNING")
    return logger.run_id


def test_a_finished_study_begins_anew(plan: Any) -> None:
    tracker = MemoryTracker()
    runs = []
    for _ in range(2):
        with open_study(plan, tracker) as logger:
            runs.append(logger.run_id)
    assert len(set(runs)) == 2
    assert {run.status for run in tracker.search()} == {"FINISHED"}


def test_an_interrupted_study_goes_on_in_its_run(plan: Any) -> None:
    tracker = MemoryTracker()
    old = interrupt(plan, tracker)
    with open_study(plan, tracker) as logger:
        assert logger.run_id == old
        (child,) = [run for run in tracker.search() if run.parent_id == old]
        assert (child.status, child.tags["status_detail"]) == ("KILLED", "interrupted")
    assert tracker.get(old).status == "FINISHED"
    with open_study(plan, tracker) as logger:
        assert logger.run_id != old


def test_a_study_whose_store_went_away_goes_on_in_its_run(plan: Any) -> None:
    tracker = MemoryTracker()
    with pytest.raises(StoreAwayError), open_study(plan, tracker) as logger:
        raise StoreAwayError("away")
    assert store_patience() == 0, "it was waited for; whoever closes the run does not wait again"
    tracker.update(logger.run_id, status="RUNNING")  # nobody could close it
    with open_study(plan, tracker) as again:
        assert again.run_id == logger.run_id


def test_with_changed_inputs_it_begins_anew_and_the_old_run_is_closed(plan: Any) -> None:
    tracker = MemoryTracker()
    old = interrupt(plan, tracker)
    with open_study(dataclasses.replace(plan, identity="two"), tracker) as logger:
        assert logger.run_id != old
    run = tracker.get(old)
    assert run.status == "KILLED"
    assert f"made anew by run {logger.run_id}" in run.tags["status_detail"]


def test_a_run_that_mlflow_made_carries_it_on(plan: Any) -> None:
    tracker = GivenTracker()
    old = interrupt(plan, tracker)
    tracker.given = "another"
    with open_study(plan, tracker) as logger:
        assert logger.run_id != old
    assert tracker.get(old).tags["status_detail"] == f"interrupted; continued by run {logger.run_id}"
    assert [run.parent_id for run in tracker.search() if run.name == "train"] == [logger.run_id], "its own, also with --force"


def test_whoever_asks_what_would_be_continued_changes_nothing(plan: Any) -> None:
    tracker = MemoryTracker()
    assert find_interrupted_study(plan, tracker) is None
    old = interrupt(plan, tracker)
    assert find_interrupted_study(plan, tracker) == old
    assert find_interrupted_study(dataclasses.replace(plan, identity="two"), tracker) is None
    assert find_interrupted_study(plan, MemoryTracker()) is None
    assert tracker.get(old).status == "RUNNING"
    with open_study(plan, tracker) as logger:
        assert logger.run_id == old
    assert find_interrupted_study(plan, tracker) is None


def test_a_failed_study_is_not_gone_on_with(plan: Any) -> None:
    tracker = MemoryTracker()
    with pytest.raises(TrainingError), open_study(plan, tracker) as first:
        raise TrainingError("nan")
    assert tracker.get(first.run_id).status == "FAILED"
    with open_study(plan, tracker) as second:
        assert second.run_id != first.run_id


def test_a_study_of_another_store_or_a_damaged_note_is_passed_over(plan: Any) -> None:
    interrupt(plan, MemoryTracker())
    with pytest.raises(KeyboardInterrupt), open_study(plan, MemoryTracker()):
        raise KeyboardInterrupt
    (note,) = Path(plan.config.cache_dir, "studies").glob("*.json")
    for content in ("", "[]", "{}", '{"run_id": 1}', '"text"'):
        note.write_text(content)
        with open_study(plan, MemoryTracker()) as logger:
            assert logger.run_id


def test_the_same_study_is_not_run_twice_at_once(plan: Any) -> None:
    tracker = MemoryTracker()
    with (
        open_study(plan, tracker),
        pytest.raises(PipelineError, match=r"running already .* give another --seed"),
        open_study(plan, tracker),
    ):
        pass
    assert len(tracker.runs) == 1
    other = dataclasses.replace(plan, config=dataclasses.replace(plan.config, seed=1))
    with open_study(plan, tracker), open_study(other, tracker):
        assert len(tracker.runs) == 3
