"""What a GPU makes of our training step beside the Trainer's: one command of some minutes, without a network.

python -m benchmarks.gpu --seconds 320 --output results
python -m benchmarks.gpu --tiny --seconds 120      # a trial of the same on a CPU, with encoders of no size

Each section is a process of its own, so that what breaks the GPU's state, or hangs, costs one section. Every measurement is
written as a line of JSON when it is made; one that fails is written with its traceback and does not stop the others.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "pydantic", "triton", "bitsandbytes", "mlflow")
PLAN = (
    # section, share of the seconds; what a section leaves over is the next one's
    ("steps", 0.38),
    ("probe", 0.27),
    ("trainings", 0.13),
    ("losses", 0.11),
    ("search", 0.07),
    ("repeats", 0.04),
)
SECTIONS = tuple(name for name, _ in PLAN)
_START = 25.0
"""Seconds beyond its share that a section may take to begin and to end before it is ended."""


class Notebook:
    """Lines of JSON in a file: a measurement each."""

    def __init__(self, path: Path, section: str, seconds: float) -> None:
        """Add to what is there; the section should end after so many seconds."""
        self._path, self._section, self._end = path, section, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def measure(self, name: str, run: Callable[[], Any], **about: Any) -> Any:
        """Note what a measurement finds, or how it fails; None where it fails or there is no time for it."""
        line: dict[str, Any] = {"section": self._section, "name": name, **about}
        if self.left < 0:
            self._write({**line, "skipped": "no time was left"})
            return None
        began, found = time.perf_counter(), None
        try:
            found = run()
            line["found"] = found
        except Exception as error:  # a benchmark: what fails is a result, and the others are wanted
            line |= {"error": f"{type(error).__name__}: {error}"[:500], "traceback": traceback.format_exc()[-4000:]}
        self._write({**line, "wall_seconds": round(time.perf_counter() - began, 2)})
        return found

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line, default=float) + "\n")
        said = "skipped" if "skipped" in line else line.get("error") or _short(line.get("found"))
        print(f"[{self._section}] {line['name']} ({line.get('wall_seconds', 0)} s): {said}"[:400], flush=True)


def _short(found: Any) -> str:
    if not isinstance(found, dict):
        return str(found)[:160]
    shown = {key: round(value, 3) for key, value in found.items() if isinstance(value, int | float)}
    return json.dumps(shown)[:260]


@click.command()
@click.option("--seconds", default=320.0, show_default=True, help="About how long it may take; what comes last is left out.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--tiny", is_flag=True, help="Encoders of no size and few texts: a trial of the benchmark itself.")
@click.option("--sections", default=",".join(SECTIONS), show_default=True)
@click.option("--section", hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
def main(seconds: float, output: Path, tiny: bool, sections: str, section: str | None, folder: Path | None) -> None:
    """Write gpu.jsonl, gpu.json, gpu.md and gpu.png into --output."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", PYTHONUNBUFFERED="1")
    if section:
        from transformers.utils import logging

        from benchmarks.gpu_inputs import Workshop

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        run_section(section, Workshop(folder or Path(), tiny), Notebook(output / "gpu.jsonl", section, seconds))
        return
    output.mkdir(parents=True, exist_ok=True)
    (output / "gpu.jsonl").unlink(missing_ok=True)
    conduct(seconds, output, tiny, sections.split(","))


def conduct(seconds: float, output: Path, tiny: bool, wanted: list[str]) -> None:
    """Make the inputs, run the sections one after the other, and write the report anew after each."""
    from benchmarks.gpu_inputs import Workshop, scratch_folder
    from benchmarks.gpu_report import write_report

    notebook, folder = Notebook(output / "gpu.jsonl", "machine", seconds), scratch_folder()
    try:
        notebook.measure("machine", machine)
        notebook.measure("inputs", Workshop(folder, tiny).make)
        shares = {name: share for name, share in PLAN if name in wanted}
        for position, (name, share) in enumerate(shares.items()):
            ahead = sum(list(shares.values())[position:])
            allowed = notebook.left * share / ahead
            notebook.measure(f"section {name}", lambda n=name, s=allowed: run_apart(n, s, output, folder, tiny))  # type: ignore[misc]
            write_report(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_apart(section: str, seconds: float, output: Path, folder: Path, tiny: bool) -> dict[str, Any]:
    """A section in a process of its own; how it ended."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--section", section, "--seconds", str(seconds)]
    command += ["--output", str(output), "--folder", str(folder), *(["--tiny"] if tiny else [])]
    allowed = seconds + _START + (60.0 if tiny else 0.0)
    if section == "losses":
        command[command.index("--seconds") + 1] = str(seconds / 2)
        for place, hidden in (("cpu", ""), ("gpu", None)):
            environment = {**os.environ, "BENCHMARK_PLACE": place}
            if hidden is not None:
                environment["CUDA_VISIBLE_DEVICES"] = hidden
            subprocess.run(command, check=False, timeout=allowed, env=environment)
        return {}
    return {"exit_status": subprocess.run(command, check=False, timeout=allowed).returncode}


def machine() -> dict[str, Any]:
    """What the figures depend on, and what is missing."""
    import torch

    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing: what needs it is left out"
    cuda = torch.cuda.is_available()
    return {
        "card": torch.cuda.get_device_name() if cuda else "none: all is measured on the CPU",
        "memory_gb": torch.cuda.get_device_properties(0).total_memory / 2**30 if cuda else 0,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "versions": versions,
        "left_out": {
            "5 seeds together against 5 alone": "nothing trains seeds together yet",
            **({} if cuda else {"graphs, memory, synchronisation": "no GPU"}),
        },
    }


def run_section(name: str, workshop: Any, notebook: Notebook) -> None:
    """The measurements of one section."""
    {"steps": steps, "repeats": repeats, "probe": probe, "trainings": trainings, "losses": losses, "search": search}[name](
        workshop, notebook
    )


def cells() -> list[Any]:
    """Every setting, the most important first."""
    from benchmarks.gpu_inputs import SHAPES, STRATEGIES, Cell

    first = [
        Cell("bert-base", "full", 32),
        Cell("minilm", "full", 32),
        Cell("bert-base", "lora", 32),
        Cell("bert-base", "full", 256),
        Cell("minilm", "lora", 32),
        Cell("minilm", "head_only", 32),
        Cell("bert-base", "partial", 32),
        Cell("minilm", "full", 256),
        Cell("bert-base", "lora", 256),
    ]
    every = [Cell(*values) for values in itertools.product(SHAPES, STRATEGIES, (32, 256))]
    return first + [cell for cell in every if cell not in first]


def steps(workshop: Any, notebook: Notebook, number: int = 0) -> None:
    """Every setting by every system, in turn."""
    from benchmarks.gpu_probe import peaks
    from benchmarks.gpu_steps import SYSTEMS, measure

    notebook.measure("peaks", lambda: peaks(workshop))
    for cell in cells():
        for system in SYSTEMS:
            count = 6 if workshop.tiny else 170 if cell.batch_size == 32 else 64
            limit = 1.0 if workshop.tiny else {"ours": 1.6, "B": 1.6, "A": 1.2}[system]
            notebook.measure(
                f"{cell.name} {system}",
                lambda c=cell, s=system, n=count, t=limit: measure(workshop, c, s, n, t),  # type: ignore[misc]
                shape=cell.shape,
                strategy=cell.strategy,
                batch_size=cell.batch_size,
                system=system,
                round=number,
            )


def repeats(workshop: Any, notebook: Notebook) -> None:
    """The settings again, as far as there is time."""
    for number in (1, 2):
        if notebook.left > 0:
            steps(workshop, notebook, number)


def probe(workshop: Any, notebook: Notebook) -> None:
    """What decides how a step should be made."""
    from benchmarks.gpu_probe import questions

    for name, question in questions(workshop):
        notebook.measure(name, question)


def trainings(workshop: Any, notebook: Notebook) -> None:
    """A real training with each strategy, with what its run records of its costs."""
    from benchmarks.gpu_inputs import STRATEGIES, Cell
    from benchmarks.gpu_steps import train_really
    from pipeline.strategies.registry import list_strategies

    known = ["bitfit", "dora", "adalora", "prefix", "ia3", "linear_probe", "bottleneck", "freeze_bottom", "gradual"]
    first = [*STRATEGIES, *known]
    for number, strategy in enumerate([*first, *(name for name in list_strategies() if name not in first)]):
        cell, folder = Cell("bert-base", strategy, 32), workshop.folder / f"model-{number}"
        notebook.measure(
            f"train {cell.name}",
            lambda c=cell, f=folder: train_really(workshop, c, 24, f),
            strategy=strategy,  # type: ignore[misc]
        )
        shutil.rmtree(folder, ignore_errors=True)


def losses(workshop: Any, notebook: Notebook) -> None:
    """The first losses of each training in the precisions of the device that this process sees."""
    from benchmarks.gpu_inputs import STRATEGIES, Cell
    from benchmarks.gpu_steps import losses_of

    place = os.environ["BENCHMARK_PLACE"]
    for shape, strategy in itertools.product(("bert-base", "minilm"), STRATEGIES):
        cell = Cell(shape, strategy, 32)
        for precision in ("fp32",) if place == "cpu" else ("bf16", "fp32"):
            notebook.measure(
                f"losses {shape} {strategy} {precision} {place}",
                lambda c=cell, p=precision: losses_of(workshop, c, 8, p),  # type: ignore[misc]
                shape=shape,
                strategy=strategy,
                precision=precision,
                place=place,
            )


def search(workshop: Any, notebook: Notebook) -> None:
    """A search of 36 points for head_only: ours, and the Trainer's steps times the steps that the points have."""
    from benchmarks.gpu_steps import measure_search, measure_search_step
    from benchmarks.search import SPACE

    rows = 256 if workshop.tiny else 8192
    notebook.measure("search ours", lambda: measure_search(workshop, "minilm", rows), system="ours")
    for system, size in itertools.product(("B", "A"), SPACE["batch_size"]):
        notebook.measure(
            f"search {system} {size}",
            lambda s=system, b=int(size): measure_search_step(workshop, "minilm", s, b, rows),  # type: ignore[misc]
            system=system,
            batch_size=size,
        )


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """All measurements so far."""
    for line in path.read_text().splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main()
