"""What a GPU makes of our training step beside the Trainer's: one command of some minutes, without a network.

python -m benchmarks.gpu --seconds 340 --output results
python -m benchmarks.gpu --tiny --seconds 120      # a trial of the same on a CPU, with encoders of no size

Each section is a process of its own. Every measurement is written as a line of JSON when it is made; one that fails is written
with its traceback and does not stop the others.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from benchmarks.gpu_inputs import Workshop

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "pydantic", "triton", "bitsandbytes", "mlflow")
PLAN = (
    # section, share of the seconds; what a section leaves over is the next one's
    ("machine", 0.04),
    ("steps", 0.34),
    ("together", 0.06),
    ("search", 0.16),
    ("trainings", 0.13),
    ("evaluation", 0.06),
    ("compile", 0.08),
    ("probe", 0.07),
    ("losses cpu", 0.02),
    ("losses gpu", 0.04),
)
SECTIONS = tuple(name for name, _ in PLAN)
_GRACE = 20.0
"""Seconds beyond its share that a section may take to end before it is ended."""


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
@click.option("--seconds", default=340.0, show_default=True, help="About how long it may take; what comes last is left out.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--tiny", is_flag=True, help="Encoders of no size and few texts: a trial of the benchmark itself.")
@click.option("--sections", default=",".join(SECTIONS), show_default=True)
def main(seconds: float, output: Path, tiny: bool, sections: str) -> None:
    """Write gpu.jsonl, gpu.json, gpu.md and gpu.png into --output."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", PYTHONUNBUFFERED="1")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # so that nothing wakes the GPU's driver before the sections are forked
    output.mkdir(parents=True, exist_ok=True)
    (output / "gpu.jsonl").unlink(missing_ok=True)
    conduct(seconds, output, tiny, ["machine", *(name for name in sections.split(",") if name != "machine")])


def conduct(seconds: float, output: Path, tiny: bool, wanted: list[str]) -> None:
    """Run the sections one after the other, and write the report anew after each."""
    ending = time.monotonic() + seconds
    began = time.perf_counter()
    import_all()
    from benchmarks.gpu_inputs import Workshop, scratch_folder
    from benchmarks.gpu_report import write_report

    folder, start = scratch_folder(), "fork"
    notebook = Notebook(output / "gpu.jsonl", "time", seconds)
    try:
        notebook.measure("imports", lambda: {"seconds": time.perf_counter() - began})
        shares = {name: share for name, share in PLAN if name in wanted}
        for position, (name, share) in enumerate(shares.items()):
            ahead = sum(list(shares.values())[position:])
            allowed = (ending - time.monotonic()) * share / ahead
            section = Notebook(output / "gpu.jsonl", name, allowed)
            notebook.measure(
                f"section {name}",
                lambda n=name, s=section, m=start: run_apart(n, Workshop(folder, tiny), s, m, 120.0 if tiny else _GRACE),  # type: ignore[misc]
            )
            write_report(output)
            lines = [line for line in lines_of(output / "gpu.jsonl") if line["name"] == "machine"]
            if (
                name == "machine"
                and Path("/dev/nvidiactl").exists()
                and not (lines and lines[0].get("found", {}).get("memory_gb"))
            ):
                start = "spawn"  # the driver does not work in a fork
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def import_all() -> None:
    """Import once what every section needs, without asking the GPU anything: sections are forks of this process."""
    import accelerate
    import peft
    import sklearn.metrics
    import transformers
    from transformers import Trainer
    from transformers.models.bert import modeling_bert
    from transformers.utils import logging

    import benchmarks.gpu_evaluation
    import benchmarks.gpu_probe
    import benchmarks.gpu_steps
    import benchmarks.gpu_together
    import benchmarks.peers
    import pipeline.stages.train

    del accelerate, peft, sklearn, transformers, Trainer, modeling_bert, benchmarks, pipeline
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def run_apart(name: str, workshop: Any, notebook: Notebook, start: str, grace: float) -> dict[str, Any]:
    """A section in a process of its own, so that what breaks the GPU's state, or hangs, costs one section; how it ended."""
    process = multiprocessing.get_context(start).Process(target=run_section, args=(name, workshop, notebook))
    process.start()
    process.join(notebook.left + grace)
    if process.is_alive():
        process.kill()
        process.join()
    return {"exit_status": process.exitcode}


def run_section(name: str, workshop: Any, notebook: Notebook) -> None:
    """The measurements of one section."""
    if name == "losses cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sections = {"machine": prepare, "steps": steps, "together": together, "search": search, "trainings": trainings}
    sections |= {"evaluation": evaluation, "compile": compile_layers, "probe": probe}
    sections.get(name, losses)(workshop, notebook)


def prepare(workshop: Any, notebook: Notebook) -> None:
    """What the figures depend on, and what they are taken on."""
    notebook.measure("machine", machine)
    notebook.measure("inputs", workshop.make)


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
        "driver": driver(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "versions": versions,
        "left_out": {} if cuda else {"graphs, memory, synchronisation": "no GPU"},
    }


def driver() -> str:
    """The version of NVIDIA's driver, as its own tool tells it."""
    if not shutil.which("nvidia-smi"):
        return "unknown"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.partition("\n")[0].strip() or "unknown"


def cells() -> list[Any]:
    """Every setting, the most important first."""
    from benchmarks.gpu_inputs import SHAPES, STRATEGIES, Cell

    first = [
        Cell("bert-base", "full", 32),
        Cell("minilm", "full", 32),
        Cell("bert-base", "lora", 32),
        Cell("minilm", "lora", 32),
        Cell("bert-base", "full", 256),
        Cell("bert-base", "partial", 32),
        Cell("minilm", "head_only", 32),
        Cell("minilm", "full", 256),
        Cell("bert-base", "lora", 256),
        Cell("minilm", "partial", 32),
        Cell("bert-base", "head_only", 32),
    ]
    every = [Cell(*values) for values in itertools.product(SHAPES, STRATEGIES, (32, 256))]
    return first + [cell for cell in every if cell not in first]


def steps(workshop: Any, notebook: Notebook) -> None:
    """Every setting by every system, in turn."""
    from benchmarks.gpu_probe import peaks
    from benchmarks.gpu_steps import SYSTEMS, measure

    notebook.measure("peaks", lambda: peaks(workshop))
    for number, cell in enumerate(cells()):
        for system in (*SYSTEMS, *(["eager"] if number < 3 else [])):
            count = 6 if workshop.tiny else 130
            limit = 1.0 if workshop.tiny else {"ours": 1.5, "B": 1.5, "A": 1.0, "eager": 1.0}[system]
            notebook.measure(
                f"{cell.name} {system}",
                lambda c=cell, s=system, n=count, t=limit: measure(workshop, c, s, n, t),  # type: ignore[misc]
                shape=cell.shape,
                strategy=cell.strategy,
                batch_size=cell.batch_size,
                system=system,
            )


def together(workshop: Any, notebook: Notebook) -> None:
    """Five seeds in one step beside five alone: each in its own order of texts, and all in the same."""
    from benchmarks.gpu_inputs import Cell
    from benchmarks.gpu_together import compare_together, measure_together

    for shape, same_order in itertools.product(("bert-base", "minilm"), (False, True)):
        cell = Cell(shape, "lora", 32)
        notebook.measure(
            f"together {cell.name}, {'the same order' if same_order else 'orders of their own'}",
            lambda c=cell, s=same_order: measure_together(workshop, c, 5, s, 1.0),  # type: ignore[misc]
            shape=shape,
            strategy=cell.strategy,
            batch_size=cell.batch_size,
            same_order=same_order,
        )
    notebook.measure("together losses", lambda: compare_together(workshop, Cell("minilm", "lora", 32), 5, 6))


def probe(workshop: Any, notebook: Notebook) -> None:
    """What decides how a step should be made."""
    from benchmarks.gpu_probe import questions

    for name, question in questions(workshop):
        notebook.measure(name, question)


def trainings(workshop: Any, notebook: Notebook) -> None:
    """A real training with each strategy, with what its run records of its costs."""
    from benchmarks.gpu_inputs import STRATEGIES, Cell
    from benchmarks.gpu_steps import train_really
    from pipeline.strategies.base import list_encoder_strategies

    # What docs/explanation/performance.md has no figure of comes first.
    wanted = ["gradual", "layernorm", "oft", "prompt", "ptuning", "qlora", "random_subset", "rslora", "vera", *STRATEGIES]
    for number, strategy in enumerate([*wanted, *(name for name in list_encoder_strategies() if name not in wanted)]):
        cell, folder = Cell("bert-base", strategy, 32), workshop.folder / f"model-{number}"
        notebook.measure(
            f"train {cell.name}",
            lambda c=cell, f=folder: train_really(workshop, c, 10, f),
            strategy=strategy,  # type: ignore[misc]
        )
        shutil.rmtree(folder, ignore_errors=True)


def evaluation(workshop: Workshop, notebook: Notebook) -> None:
    """Predicting by every system."""
    from benchmarks.gpu_evaluation import SYSTEMS, measure_evaluation

    for shape, system in itertools.product(("bert-base", "minilm"), SYSTEMS):
        notebook.measure(
            f"evaluation {shape} {system}",
            lambda s=shape, o=system: measure_evaluation(workshop, s, o),  # type: ignore[misc]
            shape=shape,
            system=system,
        )


def compile_layers(workshop: Workshop, notebook: Notebook) -> None:
    """Steps whose layers are made by torch.compile, beside the same without: where arithmetic counts first."""
    from benchmarks.gpu_inputs import Cell
    from benchmarks.gpu_probe import measure_compiled

    for size, how in itertools.product((256, 32), ("plain", "any length", "each length")):
        cell = Cell("bert-base", "full", size)
        notebook.measure(
            f"compile {cell.name}, {how}",
            lambda c=cell, h=how: measure_compiled(workshop, c, h),  # type: ignore[misc]
            batch_size=size,
            how=how,
        )


def losses(workshop: Any, notebook: Notebook) -> None:
    """The first losses of each training in the precisions of the device that this process sees."""
    from benchmarks.gpu_inputs import STRATEGIES, Cell
    from benchmarks.gpu_steps import losses_of

    place = "gpu" if workshop.has_cuda else "cpu"
    for shape, strategy in itertools.product(("minilm", "bert-base"), STRATEGIES):
        cell = Cell(shape, strategy, 32)
        for precision in ("fp32",) if place == "cpu" else ("bf16", "fp32"):
            notebook.measure(
                f"losses {shape} {strategy} {precision} {place}",
                lambda c=cell, p=precision: losses_of(workshop, c, 5, p),  # type: ignore[misc]
                shape=shape,
                strategy=strategy,
                precision=precision,
                place=place,
            )


def search(workshop: Any, notebook: Notebook) -> None:
    """A search of 36 points for head_only: ours, and the Trainer's steps times the steps that the points have."""
    from benchmarks.gpu_steps import measure_search, measure_search_step
    from benchmarks.search import SPACE

    rows = 256 if workshop.tiny else 4096
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
