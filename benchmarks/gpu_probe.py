"""What the GPU's time goes to, and whether graphs compute what steps without them do, at the real shapes."""

from __future__ import annotations

import collections
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.gpu_inputs import Cell, Workshop, forget, seconds_of, synchronize
from benchmarks.gpu_steps import Clock, measure_ours, measure_trainer, plan_of, watched_graphs
from pipeline.modeling.split_model import plain_model
from pipeline.registry import ACCELERATIONS
from pipeline.training import loop
from pipeline.training.loop import fit
from pipeline.training.plan import FitPlan


def device() -> torch.device:
    """The GPU, or the CPU where the probe is tried."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def peaks(workshop: Workshop) -> dict[str, float]:
    """TFLOP/s of large products of random numbers, and TB/s of a copy (bytes read and written)."""
    size = 128 if workshop.tiny else 8192
    found = {}
    for name, dtype, tf32 in (("bf16", torch.bfloat16, False), ("fp32", torch.float32, False), ("tf32", torch.float32, True)):
        left, right = (torch.randn(size, size, device=device(), dtype=dtype) for _ in range(2))
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        found[f"{name}_tflops"] = 2e-12 * size**3 / seconds_of(lambda a=left, b=right: a @ b, 20)  # type: ignore[misc]
        torch.backends.cuda.matmul.allow_tf32 = before
    source = torch.randn(2**20 if workshop.tiny else 2**30, device=device())
    target = torch.empty_like(source)
    found["copy_tb_per_second"] = 2e-12 * source.numel() * 4 / seconds_of(lambda: target.copy_(source), 10)
    return found


def first_visits(workshop: Workshop, shape: str, precision: str) -> dict[str, Any]:
    """Milliseconds of the first and the second forward and backward pass at each length, with and without cuDNN's attention.

    Without it comes first, so that what it costs to load kernels and to choose matrix products is not in cuDNN's figures.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    forget()
    others = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    model: nn.Module = plan_of(workshop, workshop.config(Cell(shape, "full", 32), 8)).model.to(device()).train()
    lengths = (5, 6) if workshop.tiny else (13, 16, 19, 22, 24, 27, 32, 37, 41, 48)
    found: dict[str, Any] = {"lengths": lengths}

    def one(length: int) -> float:
        mask = torch.ones(32, length, dtype=torch.int64, device=device())
        mask[:8, -1] = 0
        labels = torch.zeros(32, dtype=torch.int64, device=device())
        synchronize()
        begin = time.perf_counter()
        with torch.autocast(device().type, torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=mask + 7, attention_mask=mask, labels=labels).loss
        loss.backward()
        synchronize()
        model.zero_grad()
        return 1000 * (time.perf_counter() - begin)

    one(lengths[0] + 1)
    for name, backends in (("without_cudnn", others), ("with_cudnn", [SDPBackend.CUDNN_ATTENTION, *others])):
        with sdpa_kernel(backends, set_priority=True):
            for visit in ("first", "second", "third"):
                times = [one(length) for length in lengths]
                found[f"{name}_{visit}_ms"] = sum(times) / len(times)
                found[f"{name}_{visit}_each_ms"] = [round(each, 2) for each in times]
    return found


# ---- graphs -----------------------------------------------------------------------------------------------------------------


def trained(workshop: Workshop, cell: Cell, graphs: str, dropout: float, steps: int, **options: Any) -> dict[str, Any]:
    """The loss of every step of a training, with and without graphs."""
    forget()
    settings = {"dropout": dropout, "cuda_graphs": graphs, "logging_steps": 1, "eval_steps": 10**6, "epochs": 4}
    clock = Clock(3600.0)
    with watched_graphs() as seen:
        fit(plan_of(workshop, workshop.config(cell, steps // 4, **settings, **options)), clock)
    return {"losses": clock.losses, "graphs": seen()}


def compare_graphs(workshop: Workshop, cell: Cell) -> dict[str, Any]:
    """The same training with and without graphs: its losses without dropout, and with it how far they fall."""
    steps = 16 if workshop.tiny else 120
    found: dict[str, Any] = {}
    for dropout in (0.0, 0.1):
        runs = {graphs: trained(workshop, cell, graphs, dropout, steps) for graphs in ("auto", "off")}
        pairs = list(zip(runs["auto"]["losses"], runs["off"]["losses"], strict=True))
        differences = [abs(a - b) / abs(b) for a, b in pairs]
        last = len(pairs) // 4
        found[f"dropout {dropout:g}"] = {
            "largest_relative_difference": max(differences),
            "in_the_first_half": max(differences[: len(pairs) // 2]),
            "equal_steps": sum(a == b for a, b in pairs),
            "steps": len(pairs),
            "mean_of_last_quarter": {name: sum(run["losses"][-last:]) / last for name, run in runs.items()},
            "first_loss": runs["off"]["losses"][0],
            "graphs": runs["auto"]["graphs"],
        }
    return found


def refused_graphs(workshop: Workshop) -> dict[str, Any]:
    """A model that reads a value back in every pass, which no graph can hold: training goes on as without graphs."""
    cell, steps = Cell("minilm", "full", 32), 16 if workshop.tiny else 64

    def asking(*_: Any) -> None:
        _[-1].logits.sum().item()

    plain, before = trained(workshop, cell, "off", 0.1, steps), loop.build_optimizer

    def build(model: nn.Module, *arguments: Any) -> Any:
        model.register_forward_hook(asking)
        return before(model, *arguments)

    loop.build_optimizer = build
    try:
        refused = trained(workshop, cell, "auto", 0.1, steps)
    finally:
        loop.build_optimizer = before
    pairs = list(zip(refused["losses"], plain["losses"], strict=True))
    return {"steps": len(pairs), "difference": max(abs(a - b) / abs(b) for a, b in pairs), "graphs": refused["graphs"]}


# ---- the product's loop, and the Trainer's ----------------------------------------------------------------------------------


def watched(workshop: Workshop, cell: Cell, system: str, each_step: Callable[[int], None] | None, steps: int) -> dict[str, Any]:
    """Train so many steps, calling `each_step` after each."""
    if system != "ours":
        return measure_trainer(workshop, cell, system, steps, 60.0, each_step, warm_up=5)
    clock = Clock(60.0, each_step=each_step)
    fit(plan_of(workshop, workshop.config(cell, steps, epochs=2, eval_steps=10**6)), clock)
    return clock.found(1)


def syncs(workshop: Workshop, cell: Cell, system: str, first: int, last: int) -> dict[str, Any]:
    """How often a step waits for the GPU, and where, by torch's sync debug mode; one of ten steps is a logging point."""
    places: collections.Counter[str] = collections.Counter()

    def note(message: Any, *_: Any, **__: Any) -> None:
        if "synchroniz" not in str(message):
            return
        frames = [frame for frame in traceback.extract_stack() if "gpu_probe" not in frame.filename]
        mine = [frame for frame in frames if "/torch/" not in frame.filename and "warnings" not in frame.filename][-3:]
        places[" < ".join(f"{'/'.join(f.filename.split('/')[-2:])}:{f.lineno} {f.name}" for f in reversed(mine))] += 1

    def each_step(step: int) -> None:
        if torch.cuda.is_available() and step in (first, last):
            torch.cuda.set_sync_debug_mode("warn" if step == first else "default")

    forget()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before, warnings.showwarning = warnings.showwarning, note
        try:
            watched(workshop, cell, system, each_step, last + 2)
        finally:
            warnings.showwarning = before
            if torch.cuda.is_available():
                torch.cuda.set_sync_debug_mode("default")
    steps = last - first
    return {"per_step": sum(places.values()) / steps, "where": {where: n / steps for where, n in places.most_common(25)}}


def profile(workshop: Workshop, cell: Cell, system: str, first: int, last: int) -> dict[str, Any]:
    """What the GPU does in a step: kernels, how long it is busy, and for how much of the wall's time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler_of

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    profiler, times = profiler_of(activities=activities, acc_events=True), {}

    def each_step(step: int) -> None:
        if step == first:
            synchronize()
            profiler.start()
            times["begin"] = time.perf_counter()
        elif step == last:
            synchronize()
            times["end"] = time.perf_counter()
            profiler.stop()

    forget()
    watched(workshop, cell, system, each_step, last + 2)
    steps = last - first
    busy: collections.Counter[str] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for event in profiler.events() or []:
        if str(event.device_type).endswith("CUDA") and "#" not in event.name and not event.name.startswith("Profiler"):
            busy[event.name[:90]] += event.time_range.elapsed_us()
            counts[event.name[:90]] += 1
    copies = {name: {"us": us / steps, "count": counts[name] / steps} for name, us in busy.items() if name.startswith("Memcpy")}
    hosts = sorted(profiler.key_averages(), key=lambda item: -item.self_cpu_time_total)[:12]
    return {
        "ms_with_profiler": 1000 * (times["end"] - times["begin"]) / steps,
        "busy_ms": sum(busy.values()) / steps / 1000,
        "kernels_per_step": sum(counts.values()) / steps,
        "copies": copies,
        "kernels": {name: {"us": us / steps, "count": counts[name] / steps} for name, us in busy.most_common(15)},
        "host": {item.key: {"us": item.self_cpu_time_total / steps, "count": item.count / steps} for item in hosts},
    }


def measure_compiled(workshop: Workshop, cell: Cell, how: str) -> dict[str, Any]:
    """The product's loop with each layer made by torch.compile: once for any length, once for each length, or not at all.

    On a CPU the layers are traced alone, without making kernels: a trial of the benchmark.
    """
    backend = "inductor" if torch.cuda.is_available() else "eager"
    limit = torch._dynamo.config.recompile_limit

    def prepare(plan: FitPlan) -> None:
        for layer in plain_model(plan.model).get_submodule(plan.encoder.layers).children():
            layer.compile(dynamic=how == "any length", backend=backend)

    torch._dynamo.config.recompile_limit = 64  # a length is one; layers share what is made
    try:
        # quick_dropout, of CPUs alone, looks at one memory as two types, which cannot be traced.
        others = tuple(name for name in ACCELERATIONS.names() if name != "quick_dropout")
        found = measure_ours(workshop, cell, 1.5, prepare if how != "plain" else None, acceleration=others)
    finally:
        torch._dynamo.config.recompile_limit = limit
        torch._dynamo.reset()
    return found


def with_cudnn(workshop: Workshop, cell: Cell) -> dict[str, Any]:
    """The product's loop with cuDNN's attention, with graphs and without."""
    others = tuple(name for name in ACCELERATIONS.names() if name != "attention_kernels")
    return {graphs: measure_ours(workshop, cell, 1.0, cuda_graphs=graphs, acceleration=others) for graphs in ("auto", "off")}


def questions(workshop: Workshop) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is asked: what was never answered first."""
    large, small = Cell("bert-base", "full", 32), Cell("minilm", "full", 32)
    last = 12 if workshop.tiny else 240
    lora = Cell("minilm", "lora", 32)
    yield f"graphs {large.name}", lambda: compare_graphs(workshop, large)
    yield f"graphs {lora.name}", lambda: compare_graphs(workshop, lora)
    kept = Cell("bert-base", "partial", 32)  # whose batches are the largest to copy
    yield f"profile ours {large.name}", lambda: profile(workshop, large, "ours", last - 10, last)
    yield f"profile ours {kept.name}", lambda: profile(workshop, kept, "ours", last - 10, last)
    yield f"syncs B {large.name}", lambda: syncs(workshop, large, "B", 6, 12)
    yield "first_visits minilm fp32", lambda: first_visits(workshop, "minilm", "fp32")
    yield f"profile ours {small.name}", lambda: profile(workshop, small, "ours", last - 10, last)
    # What docs/explanation/performance.md has the answers to:
    yield f"graphs {small.name}", lambda: compare_graphs(workshop, small)
    yield f"syncs ours {large.name}", lambda: syncs(workshop, large, "ours", last - 10, last)
    yield "refused_graphs", lambda: refused_graphs(workshop)
    yield "first_visits minilm bf16", lambda: first_visits(workshop, "minilm", "bf16")
    yield "first_visits bert-base bf16", lambda: first_visits(workshop, "bert-base", "bf16")
    yield f"ours with cuDNN's attention {small.name}", lambda: with_cudnn(workshop, small)
