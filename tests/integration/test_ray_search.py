"""A search on a Ray cluster of two nodes of this machine, recorded in PostgreSQL and on a tracking server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from pipeline.config import TuneConfig
from pipeline.stages import tune
from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (the extra `ray`)")
TRIALS = 3


@pytest.fixture(scope="module")
def cluster(workspace):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def postgresql():
    """The URL of an empty database; skips where none can be started."""
    if find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed (the extra `postgresql`)")
    if not (shutil.which("initdb") and shutil.which("postgres")):
        pytest.skip("PostgreSQL is not installed")
    become = []
    if os.geteuid() == 0:  # as whom it does not start
        become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        if not shutil.which("setpriv"):
            pytest.skip("PostgreSQL does not start as root, and there is no setpriv")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        Path(scratch).chmod(0o777)
        data = Path(scratch) / "data"
        made = subprocess.run(
            [*become, "initdb", "-D", data, "-U", "us", "-A", "trust"], capture_output=True, text=True, cwd=scratch
        )
        if made.returncode:
            pytest.skip(f"initdb: {made.stderr[-200:]}")
        server = subprocess.Popen(
            [*become, "postgres", "-D", data, "-p", str(port), "-k", scratch, "-c", "listen_addresses=127.0.0.1"],
            cwd=scratch,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield wait_for_database(server, f"postgresql+psycopg2://us@127.0.0.1:{port}/postgres")
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)


@pytest.fixture
def server(postgresql, tmp_path):
    """The address of a tracking server that keeps runs in PostgreSQL and serves artifacts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    store = database(postgresql, "tracking")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--artifacts-destination",
        tmp_path / "kept",
    ]
    with (tmp_path / "server.txt").open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"],
            cwd=tmp_path,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for_page(process, f"{address}/health")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def database(url, name):
    """Make a database beside the one of Optuna: both keep a table `alembic_version`."""
    import sqlalchemy

    with sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    return url.rpartition("/")[0] + f"/{name}"


def wait_for_page(process, address):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server does not answer")


def wait_for_database(server, url):
    import sqlalchemy

    for _ in range(100):
        assert server.poll() is None
        try:
            with sqlalchemy.create_engine(url).connect():
                return url
        except sqlalchemy.exc.OperationalError:
            time.sleep(0.2)
    raise AssertionError("PostgreSQL does not answer")


@pytest.fixture(scope="module")
def recipe(workspace):
    options = {key: value for key, value in workspace.options.items() if key != "learning_rate"} | {
        "epochs": 3,
        "eval_steps": 5,
    }
    Path("ray.yaml").write_text(yaml.safe_dump({"options": options, "space": {"learning_rate": [1e-3, 2e-3, 3e-3]}}))
    return "ray.yaml"


def search(workspace, recipe, **given):
    options = {"strategy": "bitfit", "recipe": recipe, "trials": TRIALS, **given}
    result = tune.run(workspace.config(TuneConfig, **options))
    runs = [run for run in workspace.tracker.search({"stage": "trial"}) if run.parent_id == result.run_id]
    assert {run.status for run in runs} <= {"FINISHED", "KILLED"}, "one that was opened just before a kill is closed"
    finished = [run for run in runs if run.status == "FINISHED"]
    assert len(finished) == TRIALS
    return result, {run.tags[Tag.TRIAL]: (run.params["learning_rate"], run.metrics["val/loss"]) for run in finished}


def kill_a_trial(workspace):
    """Kill the process of a trial once it has a run; returns in a list the id of the process."""
    killed = []

    def kill():
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if entry.read_bytes().startswith(b"ray::run_with_cpus") and workspace.tracker.search({"stage": "trial"}):
                        os.kill(int(entry.parent.name), signal.SIGKILL)
                        killed.append(int(entry.parent.name))
                        break
                except OSError:
                    continue
            time.sleep(0.05)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return killed


def test_a_trial_whose_worker_is_lost_is_handed_out_again(workspace, cluster, recipe, capsys):
    killed = kill_a_trial(workspace)
    result, found = search(workspace, recipe, executor="ray", ray_address=cluster, workers=2)
    assert killed
    assert "the process of trial" in capsys.readouterr().out
    assert result.trials == TRIALS
    assert set(found) == {"1", "2", "3"}
    assert workspace.tracker.get(result.run_id).tags[Tag.EXECUTOR] == "ray"
    assert not [run for run in workspace.tracker.search() if run.status == "RUNNING"]
    _, local = search(workspace, recipe, executor="local", force="true")
    assert found == {trial: (rate, pytest.approx(loss, rel=1e-5)) for trial, (rate, loss) in local.items()}


def test_a_search_on_ray_is_recorded_in_postgresql(workspace, cluster, recipe, postgresql, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    options = {"executor": "ray", "storage": postgresql, "seed": 7}
    first, found = search(workspace, recipe, **options)
    assert set(found) == {"1", "2", "3"}
    again, _ = search(workspace, recipe, **options)
    assert again == first, "found in the database"


def test_a_search_on_ray_is_tracked_by_a_server(workspace, cluster, recipe, server, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    result, found = search(workspace, recipe, executor="ray", ray_address=cluster, workers=2, seed=8)
    assert set(found) == {"1", "2", "3"}
    trials = workspace.tracker.search({"stage": "trial"})
    kept = [run.run_id for run in trials if workspace.tracker.model_bytes(run.run_id)]
    assert kept == [workspace.tracker.get(result.run_id).tags[Tag.BEST_RUN_ID]], "only the best trial's model is on the server"
    assert (workspace.tracker.download_model(kept[0], tmp_path) / "delta.safetensors").stat().st_size
    scores = workspace.evaluate(kept[0])
    assert workspace.tracker.get(kept[0]).metrics["test/f1_macro"] == pytest.approx(scores.test["f1_macro"])


def test_without_a_cluster_the_way_out_is_named(workspace, recipe, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = workspace.cli("tune", strategy="bitfit", recipe=recipe, executor="ray", seed=9)
    assert result.exit_code == 2, result.output
    assert "--executor ray: which cluster? Give --ray-address" in result.output
