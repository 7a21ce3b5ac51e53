"""Processes of their own, each test in a fresh interpreter: the server from which they are forked lives as long as it does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.failures import foreseen
from pipeline.hashing import hash_file, hash_unchanged
from pipeline.stages.processes.workers import WorkerProcesses

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from pipeline.errors import ConfigError, PipelineError
from pipeline.stages.processes import workers

def work(folder):
    Path(folder, "started").write_text(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        Path(folder, "closed").write_text("")
        raise

def add(left, right=0):
    return left + right

def cling(folder, place):
    signal.signal(signal.SIGTERM, lambda *_: Path(folder, f"asked {place}").touch())
    Path(folder, f"started {place}").write_text(str(os.getpid()))
    for _ in range(60):
        time.sleep(1)

def fail(kind):
    if kind == "dead":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "ended":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    if kind == "ours":
        raise ConfigError("first", "second")
    if kind == "unpicklable":
        return lambda: None
    raise {"foreign": RuntimeError("no kernel"), "memory": MemoryError("out of memory")}[kind]

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background starts with it ignored
    workers._PRELOADED.clear()
    pool = workers.WorkerProcesses()
    if sys.argv[1] == "work":
        pool.call(work, sys.argv[2])
    if sys.argv[1] == "cling":
        from pipeline.stages.executors.local import LocalExecutor
        executor = LocalExecutor(2, pool)
        for place in range(2):
            executor._running[place] = pool.start(cling, sys.argv[2], place), place
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            executor.stop()
    for kind in sys.argv[2:]:
        try:
            pool.call(fail, kind)
        except PipelineError as error:
            print(kind, type(error).__name__, *error.messages, sep="|")
    print(pool.call(add, 1, right=2))
"""


@pytest.fixture
def start(tmp_path):
    """Starts the script; its process is gone when the test ends."""
    (tmp_path / "script.py").write_text(SCRIPT)
    started = []

    def start(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, str(tmp_path / "script.py"), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, cwd=tmp_path, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid):
    """Whether a process runs; one that ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def child(tmp_path):
    """Waits for the child to be at work; returns its process id."""

    def child():
        file = tmp_path / "started"
        wait_until(lambda: file.exists() and file.read_text())
        return int(file.read_text())

    return child


def test_every_failure_of_a_child_is_an_error_of_ours_and_the_next_child_works(start):
    out, err = start("fail", "foreign", "memory", "ours", "dead", "ended", "unpicklable").communicate(timeout=60)
    *failures, last = out.splitlines()
    said = dict(line.split("|", 1) for line in failures)
    assert said["foreign"] == "PipelineError|RuntimeError: no kernel."
    assert "RuntimeError: no kernel" in err, "with its traceback, for whoever has to find it"
    assert said["memory"] == "MemoryFailureError|" + str(foreseen(MemoryError()))
    assert "\nMemoryError" not in err, "it was foreseen, and is said once"
    assert said["ours"] == "ConfigError|first|second"
    assert said["dead"].startswith("ProcessLostError|The process of this run was killed from outside")
    assert said["ended"] == "ProcessLostError|The process of this run was told to end from outside, and closed its run."
    assert said["unpicklable"].startswith("PipelineError|")
    assert last == "3"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupting_the_parent_lets_the_child_close_what_it_has_open(start, child, tmp_path, number):
    parent = start("work", str(tmp_path))
    pid = child()
    parent.send_signal(number)
    parent.wait(timeout=30)
    if number == signal.SIGTERM:  # without a handler the parent dies at once, and the child must notice by itself
        wait_until(lambda: not is_alive(pid))
    assert not is_alive(pid)
    assert (tmp_path / "closed").exists()
    said = parent.stderr.read()
    assert said.count("Traceback") <= 1, "the parent's own, which the command line answers; none of the child's"
    assert "ForkServerProcess" not in said


@pytest.mark.parametrize("asked", ["asked 0", "asked 1"], ids=["while others are asked", "while they close"])
def test_who_interrupts_a_second_time_is_not_made_to_wait(start, tmp_path, asked):
    parent = start("cling", str(tmp_path))
    started = [tmp_path / f"started {place}" for place in range(2)]
    assert parent.stdout.readline() == "ready\n"
    wait_until(lambda: all(file.exists() and file.read_text() for file in started))
    parent.send_signal(signal.SIGINT)
    wait_until((tmp_path / asked).exists)
    began = time.monotonic()
    parent.send_signal(signal.SIGINT)
    parent.wait(timeout=60)
    assert time.monotonic() - began < 15, "a process may take half a minute to close its run"
    for file in started:
        wait_until(lambda file=file: not is_alive(int(file.read_text())))


def test_a_child_ends_when_its_parent_is_killed(start, child, tmp_path):
    parent = start("work", str(tmp_path))
    pid = child()
    parent.kill()
    wait_until(lambda: not is_alive(pid))
    assert (tmp_path / "closed").exists(), "asked to end, not cut off"


def test_a_child_has_the_environment_of_the_moment(monkeypatch):
    pool = WorkerProcesses()
    for value in ("first", "second"):
        monkeypatch.setenv("A_NAME_OF_TESTS", value)
        assert pool.call(os.getenv, "A_NAME_OF_TESTS") == value


def test_a_child_knows_the_hashes_of_its_parent(tmp_path):
    pool, file = WorkerProcesses(), tmp_path / "weights"
    file.write_bytes(b"a")
    known, status = hash_unchanged(file), file.stat()
    file.write_bytes(b"b")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert pool.call(hash_unchanged, file) == known, "not read, for it looks as it did"
    file.write_bytes(b"longer")
    assert pool.call(hash_unchanged, file) == hash_file(file)


def test_a_parent_knows_what_its_child_has_found(tmp_path):
    pool, file = WorkerProcesses(), tmp_path / "weights"
    file.write_bytes(b"a")
    found, status = pool.call(hash_unchanged, file), file.stat()
    file.write_bytes(b"b")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert hash_unchanged(file) == found, "not read, for it looks as it did"


def test_the_first_child_lets_the_server_import_what_runs_take():
    pool = WorkerProcesses()
    pool.prepare_runs()
    assert pool.call(eval, f"{'pipeline.tracking.preloaded'!r} in __import__('sys').modules")


def test_what_needs_torch_is_done_elsewhere_unless_torch_is_here(monkeypatch):
    pool = WorkerProcesses()
    assert pool.delegate(os.getpid) == os.getpid()
    monkeypatch.delitem(sys.modules, "torch")
    assert pool.delegate(os.getpid) != os.getpid()


def test_nothing_is_imported_for_a_command_that_has_ended(tmp_path):
    script = (
        "import itertools, os, sys\nos.getppid = itertools.count().__next__\n"
        "try: import pipeline.stages.processes.preload\nexcept SystemExit: assert 'torch' not in sys.modules\n"
        "else: raise AssertionError\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, timeout=300)


def test_everything_that_is_imported_before_the_fork_can_be(tmp_path):
    """The fork server passes over an import that fails, and what it holds must be as `workers` says."""
    script = (
        "import gc, importlib, threading\nfrom multiprocessing import forkserver\n"
        "from pipeline.stages.processes import workers\nfrom mlflow.utils import requirements_utils\n"
        "from pipeline.stages.processes import preload\n"
        "assert workers._PRELOADED == [preload.__name__] and len(preload.OF_PLANS) > 20\n"
        "preload.import_rest()\n"
        "for name in (*preload.OF_PLANS, *preload.OF_RUNS): importlib.import_module(name)\n"
        "preload._warm_up()\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000\n"
        "assert requirements_utils._MODULES_TO_PACKAGES, 'MLflow has another name for it now'\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "workers.WorkerProcesses().prepare()\nassert forkserver._forkserver._forkserver_pid\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
