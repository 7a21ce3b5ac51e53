"""Every command of the README and the docs works: in this process, on a tiny encoder, and with sample limits added.

`mlflow run` is replaced by the command that MLflow makes of it, and of a benchmark only the options are read;
test_commands_as_typed.py runs all of them as they stand.
"""

import importlib
import itertools
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import COMMANDS, environment, limits_for, names, run, shorten, write_project

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("blank_pictures")]

LONG = [
    "python -m pipeline main --strategies all --dry-run true",
    "python -m pipeline prepare_data --dataset imdb",
    "python -m pipeline main --strategies full,lora,head_only --tune true --trials 12 --workers 2",
    "python -m pipeline main --strategies full,lora,head_only --seeds 3 --workers 3",
    "python -m pipeline main --models minilm,./my-encoder --strategies full,lora --seeds 2",
    "python -m pipeline main --recipe encoders --models minilm,./my-encoder",
    "python -m pipeline main --strategies tfidf,head_only,lora,full --train-sizes 32,128,512,2048 --seeds 3",
    "python -m pipeline main --model my-encoder --strategies full,head_only,bitfit",
    "python -m pipeline main --recipe layerwise --model minilm --dataset rotten_tomatoes "
    "--strategies full,freeze_6,three_rates --early-stopping-patience 2",
]
"""Those that take ten seconds or more and show nothing that others do not: test_commands_as_typed.py runs them."""


@pytest.fixture(scope="module")
def project(tiny, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: a copy of the project with a tracking store."""
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("project")
    write_project(folder, tiny.folder("distilbert"), tiny.folder())
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri).create_experiment("fairtune", artifact_location=(folder / "artifacts").as_uri())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield folder


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 12
    assert {"make quickstart", "make test", "mlflow ui", *LONG} <= set(COMMANDS)
    assert sum(command.startswith("mlflow run") for command in COMMANDS) >= 4
    assert sum(command.startswith("python -m pipeline") for command in COMMANDS) >= 12


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in LONG])
def test_documented_command_works(command: str, project: Path, tiny) -> None:
    command = re.sub(r"(\bmodel[ =])minilm\b", rf"\g<1>{tiny.folder()}", shorten(command))
    if "RUN_ID" in command:
        run_id = newest_run()
        if "register" in command:  # takes what is tested
            invoke(["evaluate", f"--run-id={run_id}"])
        command = command.replace("RUN_ID", run_id)
    words = shlex.split(command)
    if words[0] == "make":  # running it from here would never end; that its recipe resolves is what can be seen
        assert run(["make", "--dry-run", words[1]], project)
    elif command == "mlflow ui":
        check_ui(project)
    elif words[:2] == ["mlflow", "run"]:
        invoke(resolve(words, limits_on(tiny.folder(), command)))
    elif words[1].startswith("examples/"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", words[1:])
            patch.setenv("MPLBACKEND", "agg")
            runpy.run_path(words[1], run_name="__main__")
    elif words[2].startswith("benchmarks."):
        importlib.import_module(words[2]).main.make_context(words[2], words[3:])
    else:
        assert words[:3] == ["python", "-m", "pipeline"], f"what is {command!r}?"
        limits = {} if "--help" in words else limits_on(tiny.folder(), command)
        invoke([*words[3:], *(f"--{name}={value}" for name, value in limits.items())])


def limits_on(encoder: Path, command: str) -> dict[str, str]:
    """The usual limits, and the tiny encoder wherever the command names none."""
    limits = {name: str(encoder) if name == "model" else value for name, value in limits_for(command).items()}
    reads_a_run = re.search(
        r"pipeline (evaluate|compare|reproduce|predict|register|export)|-e (reproduce|predict|register|export)", command
    )
    named = names(command, "model") or names(command, "models")
    return limits if reads_a_run or named else {**limits, "model": str(encoder)}


def resolve(words: list[str], limits: dict[str, str]) -> list[str]:
    """The words after `python -m pipeline` that `mlflow run` makes of its own."""
    from mlflow.projects._project_spec import load_project

    assert words[2] == "."
    entry_point = words[words.index("-e") + 1] if "-e" in words else "main"
    given = [word for flag, word in itertools.pairwise(words) if flag == "-P"]
    parameters = dict(word.split("=", 1) for word in given) | limits
    command = shlex.split(load_project(words[2]).get_entry_point(entry_point).compute_command(parameters, None))
    assert command[:3] == ["python", "-m", "pipeline"]
    return command[3:]


def invoke(words: list[str]) -> None:
    from pipeline.__main__ import cli

    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, f"{' '.join(words)}\n{result.output[-3000:]}"
    assert result.output


def newest_run() -> str:
    from pipeline import load_results

    runs = load_results()
    return str(runs[(runs.stage == "train") & (runs.status == "FINISHED")].run_id.iloc[0])


def check_ui(project: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["mlflow", "ui", "--port", str(port), "--workers", "1"],
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    assert b"MLflow" in page.read()
                    return
            except OSError:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "no page within 240 s"
                time.sleep(1)
    finally:
        server.terminate()
        server.wait(timeout=30)
