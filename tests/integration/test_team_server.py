"""A team's tracking server: PostgreSQL, artifacts through the server, users with passwords; all by its address alone."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from faults.servers import Database, free_port, no_postgresql
from tiny_reviews import write_reviews

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "secret of the admin"}
AUTH = """[mlflow]
default_permission = EDIT
database_uri = {users}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
LIMITS = ["--model", "../../encoder", "--dataset", "reviews.csv", "--epochs", "1", "--batch-size", "16", "--precision", "fp32"]


@dataclass(frozen=True)
class Team:
    """The server, and where it keeps things."""

    address: str
    database: str
    artifacts: Path
    people: Path
    """Folder of the users' working folders."""

    def environment(self, **more: str) -> dict[str, str]:
        """No variable of MLflow's but these."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHONPATH"))}
        threads = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return {**clean, **threads, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": self.address, **more}

    def add(self, *names: str) -> "list[User]":
        """Users, each with a folder of data."""
        code = (
            "import sys, mlflow.server as s; client = s.get_app_client('basic-auth', sys.argv[1])\n"
            "for name in sys.argv[2:]: client.create_user(name, f'secret of {name}')"
        )
        words = [sys.executable, "-c", code, self.address, *names]
        subprocess.run(words, env=self.environment(**ADMIN), check=True, timeout=300)
        return [User(self, name, self._folder_of(name)) for name in names]

    def _folder_of(self, name: str) -> Path:
        folder = self.people / f"home-of-{name}"
        folder.mkdir()
        write_reviews(folder / "reviews.csv", 120, seed=7)
        pd.DataFrame({"text": ["a fine film", "a dull plot"]}).to_csv(folder / "new.csv", index=False)
        return folder


@dataclass(frozen=True)
class User:
    """Gives commands in a folder of their own."""

    team: Team
    name: str
    folder: Path

    def call(self, *words: str, status: int = 0, password: str | None = None) -> str:
        secret = f"secret of {self.name}" if password is None else password
        mine = {"MLFLOW_TRACKING_USERNAME": self.name, "MLFLOW_TRACKING_PASSWORD": secret}
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *words],
            cwd=self.folder,
            env=self.team.environment(**mine),
            capture_output=True,
            text=True,
            timeout=900,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, f"{self.name}: {' '.join(words)}\n{said[-3000:]}"
        assert "Traceback" not in said
        return said

    def work(self) -> None:
        """Every entry point once."""
        self.call("prepare_data", *LIMITS[:4])
        self.call("tune", *LIMITS, "--strategy", "head_only", "--trials", "2")
        trained = self.call("train", *LIMITS, "--strategy", "full")
        run_id = re.findall(r"\b[0-9a-f]{32}\b", trained)[-1]
        self.call("evaluate", "--run-id", run_id)
        study = self.call("main", *LIMITS, "--strategies", "full,tfidf", "--seeds", "1", "--workers", "2")
        assert "Browse the runs: http" in study
        self.call("compare", "--run-ids", run_id)
        self.call("reproduce", "--run-id", run_id)
        assert "champion" in self.call("register", "--run-id", run_id, "--name", "reviews")
        self.call("register", "--run-id", run_id, "--name", "reviews")
        self.call("register", "--run-id", run_id, "--name", f"of-{self.name}")
        self.call("predict", "--model", f"models:/of-{self.name}@champion", "--input", "new.csv", "--output", "labelled.csv")
        assert len(pd.read_csv(self.folder / "labelled.csv")) == 2


@pytest.fixture(scope="module")
def team(tiny):
    if missing := no_postgresql():
        pytest.skip(missing)
    if importlib.util.find_spec("flask_wtf") is None:
        pytest.skip("what MLflow's users need is not installed (pip install '.[server]')")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        root = Path(scratch)
        root.chmod(0o755)  # the database runs as somebody else
        kept, people = root / "kept", root / "people"
        people.mkdir()
        shutil.copytree(tiny.folder(), root / "encoder")
        database = Database(SimpleNamespace(root=root, folder=root))
        database.start()
        try:
            users = make_database(database.address, "users")
            (root / "auth.ini").write_text(AUTH.format(users=users))
            port = free_port()
            team = Team(f"http://127.0.0.1:{port}", database.address, kept, people)
            with (root / "server.txt").open("w") as said:
                server = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
                        *("--backend-store-uri", database.address, "--artifacts-destination", str(kept)),
                        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
                    ],
                    cwd=root,
                    env=team.environment(
                        MLFLOW_TRACKING_URI="",
                        MLFLOW_AUTH_CONFIG_PATH=str(root / "auth.ini"),
                        MLFLOW_AUTH_ADMIN_PASSWORD=ADMIN["MLFLOW_TRACKING_PASSWORD"],
                        MLFLOW_FLASK_SERVER_SECRET_KEY="not to be guessed",
                        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # seven processes that runs have no use for
                    ),
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            try:
                wait_for(server, f"{team.address}/health", root / "server.txt")
                yield team
            finally:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait(timeout=60)
        finally:
            database.stop()


def make_database(address: str, name: str) -> str:
    """One beside: MLflow's users have tables of their own."""
    import sqlalchemy

    with sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    return f"{address.rpartition('/')[0]}/{name}"


def wait_for(server: subprocess.Popen, page: str, said: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert server.poll() is None, said.read_text()[-3000:]
        try:
            urllib.request.urlopen(page, timeout=10).read()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(said.read_text()[-3000:])


def rows(address: str) -> list[str]:
    """Every row of every table, as text."""
    import sqlalchemy

    with sqlalchemy.create_engine(address).connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        return [
            f"{table}: {tuple(row)}"
            for table in tables
            for row in connection.execute(sqlalchemy.text(f'SELECT * FROM "{table}"'))
        ]


def test_two_users_work_at_once_by_the_address_alone_and_leave_no_path_of_theirs(team):
    alice, bob = team.add("alice", "bob")
    refused = alice.call("train", *LIMITS, "--strategy", "full", status=1, password="wrong")
    assert "MLFLOW_TRACKING_USERNAME" in refused
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(user.work) for user in (alice, bob)]:
            done.result()
    for user in (alice, bob):
        left = {path.name for path in user.folder.iterdir()}
        assert left == {"reviews.csv", "new.csv", "labelled.csv", ".cache"}, "runs are on the server alone"
    stored = rows(team.database)
    assert sum(row.startswith("runs:") and "study" in row for row in stored) >= 2
    for row in stored:
        assert "home-of-" not in row, row
    files = [path for path in team.artifacts.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert not [path for path in files if b"home-of-" in path.read_bytes()]
