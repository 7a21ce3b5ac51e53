"""Peak memory of each command beside its work: of its own process, and of the largest that it starts.

python -m benchmarks.commands

The data and the encoder are the quick start's, with fewer texts to train on. Linux alone says what a process held at most.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pandas as pd

_ROOT = Path(__file__).parents[1]
_TRAINING = ("--dataset", "rotten_tomatoes", "--model", "minilm", "--epochs", "1", "--batch-size", "32", "--dropout", "0.1")
_SECONDS = 0.02
"""Between two looks at the processes. What one held at most is kept by the system for as long as it lives."""
_MB = 2**10  # in kB, in which Linux counts


@click.command()
@click.option("--rows", default=640, show_default=True, help="Texts to train on.")
@click.option("--strategy", default="full", show_default=True)
def main(rows: int, strategy: str) -> None:
    """Run every command in a new folder, one after the other, and print the table."""
    training = (*_TRAINING, "--max-train-samples", str(rows))
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def measure(command: str, did: str, *options: str) -> str:
            own, largest, said = run([command, *options], folder)
            found.append({"command": command, "did": did, "its process, MB": own, "largest it started, MB": largest})
            print(f"{command}: {own:,.0f} MB", file=sys.stderr, flush=True)
            return said

        measure("prepare_data", "8,530 sentences", "--dataset", "rotten_tomatoes")
        said = measure("train", f"{strategy}, {rows} texts", *training, "--strategy", strategy)
        run_id = re.findall(r"\b[0-9a-f]{32}\b", said)[-1]
        measure("evaluate", "853 texts", "--run-id", run_id)
        measure("reproduce", "that training and test", "--run-id", run_id)
        measure("tune", f"{strategy}, 2 trials", *training, "--strategy", strategy, "--trials", "2")
        studied = tuple(dict.fromkeys((strategy, "head_only", "tfidf")))
        study = ("--strategies", ",".join(studied), "--seeds", "2")
        measure("main", f"{', '.join(studied)}; two seeds", *training, *study)
        measure("compare", "the same study")
    print(pd.DataFrame(found).to_markdown(index=False, floatfmt=",.0f"))


def run(command: list[str], folder: Path) -> tuple[float, float | None, str]:
    """Peak memory in MB of a command's process, of the largest process below it, and what the command said."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    output = folder / "said.txt"
    peaks: dict[int, float] = {}
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command], cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            for pid in [process.pid, *_below(process.pid)]:
                peaks[pid] = max(peaks.get(pid, 0.0), _peak(pid))
            time.sleep(_SECONDS)
        process.wait()
    said = output.read_text()
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with exit status {process.returncode}:\n{said[-2000:]}")
    others = [peak for pid, peak in peaks.items() if pid != process.pid]
    return peaks[process.pid], max(others, default=None), said


def _below(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return
    for child in map(int, children):
        yield child
        yield from _below(child)


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / _MB if found else 0.0


if __name__ == "__main__":
    main()
