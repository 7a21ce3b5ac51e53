"""Tracking stores that are processes of their own: MLflow's server on the workspace's store, and a PostgreSQL database."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from . import process
from .workspace import Workspace, is_root

_NOBODY = 65534


class Store(Protocol):
    """A store that can be taken away and brought back."""

    address: str
    """For MLFLOW_TRACKING_URI."""
    broken: Path
    """While this file is there, a server answers everything with 500."""

    def start(self) -> None:
        """Start it, and wait until it answers."""

    def kill(self) -> None:
        """Take it away at once; may be called in any process."""

    def stop(self) -> None:
        """The same, and wait until it is gone."""


class Server:
    """MLflow's tracking server on the workspace's store."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._port, self._pid = workspace, free_port(), 0
        self.address = f"http://127.0.0.1:{self._port}"
        self.broken = workspace.folder / "calls-broken"

    def start(self) -> None:
        self._pid = os.fork()
        if not self._pid:
            process.become(self._serve, self._workspace.folder, self._workspace.environment, None)
        for _ in range(2400):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.address}/health", timeout=30).read()
                return
            time.sleep(0.025)
        raise RuntimeError("the tracking server does not start")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _serve(self) -> None:
        os.environ["_MLFLOW_SERVER_FILE_STORE"] = self._workspace.environment["MLFLOW_TRACKING_URI"]
        os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = self._workspace.artifacts.as_uri()
        os.environ["MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"] = "true"
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        import uvicorn
        from mlflow.server.fastapi_app import app

        async def gate(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and self.broken.exists():
                await send({"type": "http.response.start", "status": 500, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
            else:
                await app(scope, receive, send)

        uvicorn.run(gate, host="127.0.0.1", port=self._port, log_level="critical")


class Database:
    """A PostgreSQL cluster of its own, with MLflow's tables."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._port = workspace, free_port()
        self._folder = workspace.root / "postgresql"
        self.address = f"postgresql+psycopg2://postgres@127.0.0.1:{self._port}/postgres"
        self.broken = workspace.folder / "calls-broken"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        if is_root():  # PostgreSQL refuses to run as root
            shutil.chown(self._folder, _NOBODY, _NOBODY)
        self._call("initdb", "--username=postgres", "--auth=trust", "--no-sync", f"--pgdata={self._folder}")

    def start(self) -> None:
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=200"
        )
        self._call("pg_ctl", "start", "-w", "-s", f"--pgdata={self._folder}", f"--log={self._folder}/log", "-o", options)

    def make_experiment(self) -> None:
        """As the template `empty` has it."""

        def make() -> None:
            from mlflow.tracking import MlflowClient

            MlflowClient().create_experiment("fairtune", artifact_location=self._workspace.artifacts.as_uri())

        process.call(make, self._workspace.folder, {**self._workspace.environment, "MLFLOW_TRACKING_URI": self.address})

    def kill(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self._folder / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # it may be gone
            self._call("pg_ctl", "stop", "-w", "-s", "-m", "immediate", f"--pgdata={self._folder}")

    def _call(self, *words: str) -> None:
        rights = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if is_root() else {}
        subprocess.run(words, check=True, capture_output=True, cwd=self._folder, **rights)  # type: ignore[call-overload]


def no_postgresql() -> str:
    """Why there is no PostgreSQL here; empty where there is."""
    if missing := [name for name in ("initdb", "pg_ctl") if shutil.which(name) is None]:
        return f"PostgreSQL is not installed ({', '.join(missing)})"
    return "" if importlib.util.find_spec("psycopg2") else "its driver is not installed (pip install '.[postgresql]')"


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
