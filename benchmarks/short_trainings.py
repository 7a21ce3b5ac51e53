"""What ten short trainings with their tests take: one study of `full` and `bitfit`, five seeds each, on 64 texts.

python -m benchmarks.short_trainings --code FOLDER --repeats 3

Each study begins in an empty folder, so the store is made in its time, too. With `--code` another checkout takes turns, and
with `--workers N` this one once more, N trainings at once: each has an N-th of the cores, so a single one takes longer.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import click
import pandas as pd

from benchmarks.start import write_texts

_ROOT = Path(__file__).parents[1]
_OPTIONS = "--strategies full,bitfit --seeds 5 --dataset texts --split official --model minilm --epochs 1 --batch-size 32"
_KINDS = {"full": "full-", "bitfit": "bitfit-", "test": "evaluate-"}
"""What a phase is called, and how the names of its runs begin."""


@click.command()
@click.option("--code", type=click.Path(path_type=Path, exists=True), help="Another checkout, measured in turn with this one.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Measure so many at once, too.")
def main(code: Path | None, repeats: int, workers: int) -> None:
    """Measure seconds of the clock, and print the median of each phase and the ratios."""
    systems: dict[str, tuple[Path, int]] = {"this": (_ROOT, 1)}
    if code:
        systems = {"other": (code.absolute(), 1), **systems}
    if workers > 1:
        systems[f"this, --workers {workers}"] = (_ROOT, workers)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_texts(folder)
        rows = [
            {"code": name, "repeat": repeat, **measure(root, folder / "texts", folder / "study", at_once)}
            for repeat in range(repeats)
            for name, (root, at_once) in systems.items()
        ]
    table = pd.DataFrame(rows).set_index(["code", "repeat"])
    print(table.groupby("code", sort=False).median().to_markdown(floatfmt=".2f"))
    first, *others = systems
    for name in others:
        ratios = table.loc[name, "all"] / table.loc[first, "all"]
        print(f"\n{name} / {first}: {ratios.median():.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


def measure(root: Path, texts: Path, folder: Path, workers: int = 1) -> dict[str, float]:
    """Seconds of one study by phase; those of trainings and tests are medians of their runs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(texts, folder / "texts")
    os.sync()  # else the disk still writes what the one before has left
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
    began = time.perf_counter()
    more = ["--workers", str(workers)] if workers > 1 else []  # options that older code lacks
    if (root / "pipeline" / "config" / "measuring.py").is_file():
        more += ["--latency-seconds", "0"]
    command = [sys.executable, "-m", "pipeline", "main", *_OPTIONS.split(), *more]
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise click.ClickException(f"The study with the code of {root} failed:\n{done.stderr[-2000:]}")
    return {"all": seconds, **phases(folder / "mlflow.db", seconds, workers)}


def phases(store: Path, seconds: float, workers: int = 1) -> dict[str, float]:
    """Where a study's seconds went, as the times of its runs say; between two: of a worker."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        runs = connection.execute("SELECT name, start_time / 1e3, end_time / 1e3 FROM runs ORDER BY start_time").fetchall()
    work = [run for run in runs if run[0].startswith(tuple(_KINDS.values()))]
    inside = max(end for _, _, end in work) - work[0][1]
    kinds = {kind: [end - start for name, start, end in work if name.startswith(prefix)] for kind, prefix in _KINDS.items()}
    spent = sum(map(sum, kinds.values()))
    [(compared, until)] = [(start, end) for name, start, end in runs if name.startswith("compare")]
    return {
        "before the first training": seconds - (until - work[0][1]),
        **{kind: median(times) for kind, times in kinds.items()},
        "between two": (workers * inside - spent) / (len(work) - 1),
        "comparison": until - compared,
    }


if __name__ == "__main__":
    main()
