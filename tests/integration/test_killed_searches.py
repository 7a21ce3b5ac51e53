"""Searches whose processes are killed at random moments go on with the same command, and end as if nothing had happened.

Three of each executor, a minute each, so they are left to `make test-all`; `make test` kills a study (test_killed_study.py).
`KILLED_SEARCHES=40 python -m pytest tests/integration/test_killed_searches.py` does it with 40 searches.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TRIALS = 5
SEARCHES = int(os.environ.get("KILLED_SEARCHES", "3"))
KILLS = {"search": 3, "trial": 2, "all": 3}  # a trial that is killed a third time counts as failed
LINES = 16  # of some fifty that an uninterrupted search says
RATES = [1e-3, 2e-3, 3e-3, 1e-2, 2e-2]
SPACE = {"learning_rate": [1e-3, 3e-3, 1e-2], "dropout": [0.0, 0.1]}
VICTIMS = tuple(KILLS)


def command(folder, workers, executor):
    options = {"strategy": "head_only", "recipe": folder / f"{executor}.yaml", "workers": workers, "trials": TRIALS}
    options["executor"] = executor
    return [sys.executable, "-m", "pipeline", "tune", *(f"--{name}={value}" for name, value in options.items())]


def start(folder, workers, executor="local"):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    environment |= {"OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(
            command(folder, workers, executor),
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def members(group):
    """Process ids of a process group, with those of their parents."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, of = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            found[int(entry.parent.name)] = int(parent)
    return found


def trials_of(search):
    """Trials are forked by the server, itself a child of the search."""
    found = members(search)
    servers = {pid for pid, parent in found.items() if parent == search}
    return [pid for pid, parent in found.items() if parent in servers]


def kill(process, victim, generator):
    """Kill; returns whether there was something to kill."""
    if process.poll() is not None:
        return False
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "search":
        os.kill(process.pid, signal.SIGKILL)
    elif trials := trials_of(process.pid):
        os.kill(generator.choice(trials), signal.SIGKILL)
    else:
        return False
    return True


def wait_for_lines(folder, process, more):
    """Until the search has said so many more lines, or has ended: on a busy machine seconds say little of how far it is."""
    file = folder / "output.txt"

    def count():
        return file.read_text().count("\n")

    enough, deadline = count() + more, time.monotonic() + 300
    while count() < enough and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def prepared(workspace):
    """A folder with prepared data and an empty store, from which every search starts."""
    folder = workspace.folder / "prepared"
    folder.mkdir()
    options = {**workspace.options, "epochs": 3, "eval_steps": 5, "logging_steps": 5}
    del options["learning_rate"]
    (folder / "local.yaml").write_text(yaml.safe_dump({"options": options, "space": SPACE}))
    # With dropout: its masks are the same whichever trials train beside, and so whenever the search was killed.
    together = {"options": {**options, "dropout": 0.2}, "space": {"learning_rate": RATES}}
    (folder / "batched.yaml").write_text(yaml.safe_dump(together))
    shutil.copy(workspace.folder / "mlflow.db", folder)
    return folder


def copy_of(prepared, name):
    folder = prepared.parent / name
    shutil.copytree(prepared, folder)
    return folder


def outcome(folder):
    """(trial, point, score) of every finished trial; asserts that nothing is left open and nothing was done twice."""
    from pipeline.tracking.mlflow_runs import MlflowTracker

    runs = MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}").search()
    (parent,) = [run for run in runs if run.stage == "tune"]
    assert parent.status == "FINISHED"
    assert not [run.run_id for run in runs if run.status == "RUNNING"]
    finished = [run for run in runs if run.stage == "trial" and run.status == "FINISHED"]
    assert Counter(run.tags[Tag.TRIAL] for run in finished) == {str(number + 1): 1 for number in range(TRIALS)}
    assert {run.parent_id for run in finished} == {parent.run_id}
    best = next(run for run in finished if run.run_id == parent.tags[Tag.BEST_RUN_ID])
    assert best.metrics["val/accuracy"] == max(run.metrics["val/accuracy"] for run in finished)
    assert best.tags[Tag.TUNED_TRIALS] == str(TRIALS)
    return sorted(
        (int(run.tags[Tag.TRIAL]), *(float(run.params[name]) for name in SPACE), run.metrics["val/loss"]) for run in finished
    )


@pytest.fixture(scope="module")
def together(prepared):
    folder = copy_of(prepared, "together")
    process = start(folder, 1, "batched")
    assert process.wait(timeout=300) == 0, (folder / "output.txt").read_text()
    assert "Executor: batched, 5 trial(s) at once." in (folder / "output.txt").read_text()
    return outcome(folder)


@pytest.fixture(scope="module")
def uninterrupted(prepared):
    folder = copy_of(prepared, "uninterrupted")
    process = start(folder, workers=1)
    assert process.wait(timeout=300) == 0, (folder / "output.txt").read_text()
    found = outcome(folder)
    shutil.copytree(folder / ".cache" / "prepared", prepared / ".cache" / "prepared")
    return found


def disturb(folder, number, executor):
    """Kill a search some times, then let the same command end it; returns how often it was killed, and whom that hit."""
    generator = random.Random(f"{os.environ.get('KILL_SEED', '')}{number}{executor}")
    victim, workers = VICTIMS[number % 3], 1 + number // 3 % 2
    killed, process = 0, start(folder, workers, executor)
    for _ in range(KILLS[victim]):
        if process.poll() is not None:
            process = start(folder, workers, executor)
        wait_for_lines(folder, process, generator.randint(1, LINES))
        time.sleep(generator.uniform(0, 0.5))
        killed += kill(process, victim, generator)
        if victim != "trial" and process.wait(timeout=60) == 0:
            break
    assert process.wait(timeout=300) in (0, -signal.SIGKILL), (folder / "output.txt").read_text()
    assert killed, "it was over before it could be killed"
    process = start(folder, workers, executor)
    assert process.wait(timeout=300) == 0, (folder / "output.txt").read_text()
    with (folder.parent / "kills.txt").open("a") as file:
        file.write(f"{executor}, {victim}, {workers} worker(s): killed {killed} times\n")


@pytest.mark.parametrize("number", range(SEARCHES))
def test_a_killed_search_ends_as_one_that_was_not(prepared, uninterrupted, number):
    folder = copy_of(prepared, f"killed-{number}")
    disturb(folder, number, "local")
    assert outcome(folder) == uninterrupted


@pytest.mark.parametrize("number", range(SEARCHES))
def test_a_killed_batched_search_keeps_what_was_finished(prepared, together, number):
    folder = copy_of(prepared, f"batched-{number}")
    disturb(folder, number, "batched")
    assert outcome(folder) == [pytest.approx(one, rel=1e-4) for one in together]
