"""A run whose process was killed does not count as running for ever."""

import subprocess
import sys

import pytest

from pipeline.tracking import abandoned
from pipeline.tracking.abandoned import describe_process, is_gone
from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are described on Linux alone")


@pytest.fixture(scope="module")
def dead():
    """The description of a process that was."""
    code = "from pipeline.tracking.abandoned import describe_process; print(describe_process())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_who_lives_is_not_gone_and_who_ended_is(dead):
    assert not is_gone(describe_process())
    assert is_gone(dead)


@pytest.mark.parametrize("part", range(5))
def test_of_whom_nothing_is_known_is_not_gone(dead, part):
    """Of another machine, or another namespace of process ids. Another boot of this machine, or another start, is over."""
    parts = dead.split("/")
    parts[part] = {3: str(2**22 + 1)}.get(part, "0")
    assert is_gone("/".join(parts)) == (part in (1, 3, 4))


def test_a_process_id_that_was_given_anew_is_another_process():
    *rest, _ = describe_process().split("/")
    assert is_gone("/".join([*rest, "1"]))


@pytest.mark.parametrize("text", ["", "nonsense", "a/b/c/d", "a/b/c/d/e"])
def test_what_is_no_description_says_nothing(text):
    assert not is_gone(text)


def test_where_processes_cannot_be_described_none_is_gone(dead, monkeypatch):
    monkeypatch.setattr(abandoned, "_describe", lambda pid: None)
    assert describe_process() == ""
    assert not is_gone(dead)


def test_the_next_run_closes_those_whose_process_is_gone(mlflow_tracker, dead):
    lives, other, gone, done = (mlflow_tracker.start(name) for name in ("lives", "other-machine", "gone", "done"))
    other.set_tags({Tag.PROCESS: "machine/boot/1/2/3"})
    done.finish("FINISHED")
    for run in (gone, done):
        run.set_tags({Tag.PROCESS: dead})
    below = mlflow_tracker.start("below", parent_id=lives.run_id)
    assert mlflow_tracker.get(gone.run_id).status == "RUNNING", "a run below another looks for nothing"
    mlflow_tracker.start("next")
    statuses = [mlflow_tracker.get(run.run_id).status for run in (lives, other, below, gone, done)]
    assert statuses == ["RUNNING", "RUNNING", "RUNNING", "KILLED", "FINISHED"]
    assert "its process was gone" in mlflow_tracker.get(gone.run_id).tags["status_detail"]
