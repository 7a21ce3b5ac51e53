"""What checksums and synchronising cost: seconds inside of them in training and testing, and the same commands without them.

python -m benchmarks.integrity

The data and the encoder are the quick start's, with fewer texts to train on. Each command has a process of its own, and those
with and without take turns.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pandas as pd

_ROOT = Path(__file__).parents[1]
_TRAINING = ("--dataset", "rotten_tomatoes", "--model", "minilm", "--batch-size", "32", "--dropout", "0.1")
_CHECKSUMS = (
    "hashing.hash_file",
    "hashing.digest",
    "data.prepared.hash_rows",
    "training.activation_cache._hash_tokens",
    "tracking.runs.checksum_tag",
)
"""Where content is hashed. Most is a checksum, some names an entry of a cache; all counts here."""
_SYNCHRONISING = ("atomic_io.synchronise",)


@click.group(invoke_without_command=True)
@click.option("--rows", default=1280, show_default=True, help="Texts to train on.")
@click.option("--epochs", default=2, show_default=True)
@click.option("--strategies", default="full,lora,head_only", show_default=True)
@click.option("--repeats", default=1, show_default=True, help="How often each command is run with and without.")
@click.pass_context
def main(context: click.Context, rows: int, epochs: int, strategies: str, repeats: int) -> None:
    """Print the table."""
    if context.invoked_subcommand:
        return
    found = []
    with tempfile.TemporaryDirectory(dir=_ROOT) as scratch:  # on the disk: a temporary folder may be memory
        run(["prepare_data", "--dataset", "rotten_tomatoes"], Path(scratch))
        for repeat in range(repeats):
            for strategy in strategies.split(","):
                for off in (False, True):
                    folder = Path(scratch) / f"{strategy}-{repeat}-{off}"
                    folder.mkdir()
                    (folder / ".cache").mkdir()
                    (folder / ".cache" / "prepared").symlink_to(Path(scratch) / ".cache" / "prepared")
                    size = ("--max-train-samples", str(rows), "--epochs", str(epochs))
                    train = run(["train", "--strategy", strategy, *_TRAINING, *size], folder, off)
                    evaluate = run(["evaluate", "--run-id", train.pop("run_id")], folder, off)
                    for command, took in (("train", train), ("evaluate", evaluate)):
                        found.append({"command": command, "strategy": strategy, "off": off, **took})
    table = pd.DataFrame(found)
    without = table[table["off"]].groupby(["command", "strategy"])["seconds"].min().rename("without them, s")
    means = table[~table["off"]].drop(columns="off").groupby(["command", "strategy"], sort=False).mean(numeric_only=True)
    means["share, %"] = 100 * (means["checksums, s"] + means["synchronising, s"]) / means["seconds"]
    print(means.join(without).reset_index().to_markdown(index=False, floatfmt=".2f"))


def run(command: list[str], folder: Path, off: bool = False) -> dict[str, Any]:
    """What a command took in a new process, and the id of its run."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    measured = [sys.executable, "-m", "benchmarks.integrity", "command", *(["--off"] if off else []), "--", *command]
    done = subprocess.run(measured, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with exit status {done.returncode}:\n{done.stderr[-2000:]}")
    print(f"{folder.name}: {command[0]}: {done.stdout.splitlines()[-1]}", file=sys.stderr, flush=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "run_id": (re.findall(r"\b[0-9a-f]{32}\b", done.stdout) or [""])[-1]}


@main.command("command")
@click.option("--off", is_flag=True, help="Synchronise nothing, and hold no file against its checksum.")
@click.argument("arguments", nargs=-1)
def measure(off: bool, arguments: tuple[str, ...]) -> None:
    """Run a command of the pipeline in this process, and print what it took as JSON."""
    began = time.perf_counter()
    from pipeline.__main__ import cli
    from pipeline.stages import compare, evaluate, prepare_data, train  # noqa: F401  all that is measured is there to be replaced

    spent = {"checksums, s": 0.0, "synchronising, s": 0.0}
    calls = {"checksums, s": 0, "synchronising, s": 0}
    for kind, names in zip(spent, (_CHECKSUMS, _SYNCHRONISING), strict=True):
        for name in names:
            replace(name, functools.partial(timed, spent, calls, kind))
    if off:
        replace("hashing.find_damage", functools.partial(answering, None))
        replace("tracking.runs.is_intact", functools.partial(answering, True))
        replace("atomic_io.synchronise", functools.partial(answering, None))
    with contextlib.suppress(SystemExit):
        cli(list(arguments), standalone_mode=False)
    took = time.perf_counter() - began
    print(json.dumps({"seconds": took, **spent, "files": calls["checksums, s"], "fsyncs": calls["synchronising, s"]}))


def replace(name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of a function of the package in its place, wherever it was imported to."""
    path, _, attribute = name.rpartition(".")
    original = getattr(sys.modules[f"pipeline.{path}"], attribute)
    replaced = make(original)
    for module in list(sys.modules.values()):
        if getattr(module, attribute, None) is original:
            setattr(module, attribute, replaced)


def answering(answer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does nothing in the place of another."""

    def call(*_arguments: Any, **_options: Any) -> Any:
        return answer

    return functools.wraps(function)(call)


def timed(spent: dict[str, float], calls: dict[str, int], kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its seconds added up."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[kind] += time.perf_counter() - began
            calls[kind] += 1

    return call


if __name__ == "__main__":
    main()
