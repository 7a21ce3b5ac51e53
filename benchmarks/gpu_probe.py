"""What decides how a step on a GPU should be made, measured one question at a time at the real shapes.

None of this is the product's loop, but for `syncs` and `profile`, which look at it.
"""

from __future__ import annotations

import collections
import inspect
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu_inputs import Cell, Workshop, draw_lengths, forget, memory, seconds_of, synchronize
from benchmarks.gpu_steps import Clock, measure_ours, measure_trainer, plan_of
from pipeline.data.batching import plan_epoch
from pipeline.training.fused_lora import fused_lora
from pipeline.training.loop import fit
from pipeline.training.masks import masks_without_waiting
from pipeline.training.optimizer import build_optimizer
from pipeline.training.vocabulary import used_vocabulary

HEADS, HEAD_SIZE = 12, 64


def device() -> torch.device:
    """The GPU, or the CPU where the probe is tried."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> Any:
    """bf16 as the product has it."""
    return torch.autocast(device().type, torch.bfloat16)


# ---- the machine ------------------------------------------------------------------------------------------------------------


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


# ---- a whole step -----------------------------------------------------------------------------------------------------------


@contextmanager
def prepared(workshop: Workshop, cell: Cell, dtype: torch.dtype = torch.float32) -> Iterator[tuple[Any, nn.Module, Any]]:
    """What trains, the model on the GPU as the product trains it, and the training texts' token ids."""
    plan = plan_of(workshop, workshop.config(cell, 170, precision="fp32"))
    with masks_without_waiting(plan.model), fused_lora(plan.model):
        vocabulary = used_vocabulary(plan.model, plan.parameters, [plan.train, plan.validation], plan.pad_id)
        with vocabulary as parameters:
            plan.model.to(device(), dtype)
            parameters.enter_phase(plan.model, 0)
            plan.model.train()
            yield parameters, plan.model, plan.train.ids
            plan.model.to("cpu", torch.float32)


def static_batch(tokens: Any, batch_size: int, length: int) -> dict[str, torch.Tensor]:
    """A batch of one length with a little padding; tokens that the vocabulary in use holds."""
    ids = torch.from_numpy(np.random.default_rng(0).choice(tokens, (batch_size, length)).astype(np.int64))
    mask = torch.ones_like(ids)
    mask[: batch_size // 4, -1] = 0
    labels = torch.arange(batch_size) % 2
    return {name: tensor.to(device()) for name, tensor in {"input_ids": ids, "attention_mask": mask, "labels": labels}.items()}


class Step:
    """Forward, backward, clipping and AdamW on a static batch."""

    def __init__(self, model: nn.Module, parameters: Any, batch: dict[str, torch.Tensor], cast: bool, **adamw: Any) -> None:
        self.model, self.batch, self.cast = model, batch, cast
        groups = build_optimizer(model, parameters, 0.01).param_groups
        rate = torch.tensor(1e-5, device=device()) if adamw.get("capturable") else 1e-5
        self.optimizer = torch.optim.AdamW(
            [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups], lr=rate, **adamw
        )
        self.trained = [parameter for group in groups for parameter in group["params"]]

    def forward(self) -> torch.Tensor:
        """The loss."""
        with autocast() if self.cast else nullcontext():
            return self.model(**self.batch).loss

    def derive(self) -> None:
        """Gradients alone."""
        self.optimizer.zero_grad()
        self.forward().backward()

    def __call__(self) -> None:
        """All of it."""
        self.derive()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()


def captured(step: Callable[[], None], pool: Any = None) -> tuple[torch.cuda.CUDAGraph, float]:
    """A CUDA graph of a step, and the seconds that making it took."""
    began = time.perf_counter()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        step()
    synchronize()
    return graph, time.perf_counter() - began


def whole_steps(workshop: Workshop, cell: Cell, lengths: tuple[int, ...] = (16,)) -> dict[str, Any]:
    """Milliseconds of a step: eager and as a CUDA graph, by length."""
    found: dict[str, Any] = {}
    forget()
    with prepared(workshop, cell) as (parameters, model, tokens):
        batch = static_batch(tokens, cell.batch_size, lengths[0])
        eager = Step(model, parameters, batch, cast=True, fused=True)
        found["eager_ms"] = 1000 * seconds_of(eager, 30, at_most=1.5)
        found["eager_forward_backward_ms"] = 1000 * seconds_of(eager.derive, 30, at_most=1.5)
        found["eager_memory"] = memory()
        if not torch.cuda.is_available():
            return found
        del eager
        graph_step = Step(model, parameters, batch, cast=True, fused=True, capturable=True)
        pool = torch.cuda.graph_pool_handle()
        found["graphs"] = {}
        graphs = []
        for length in lengths:
            graph_step.batch = static_batch(tokens, cell.batch_size, length)
            graph, seconds = captured(graph_step, pool)
            graphs.append((graph, graph_step.batch))
            found["graphs"][str(length)] = {
                "ms": 1000 * seconds_of(graph.replay, 50, at_most=1.0),
                "capture_seconds": seconds,
                **memory(),
            }
        derived, _ = captured(graph_step.derive, pool)
        found["graph_forward_backward_ms"] = {str(lengths[-1]): 1000 * seconds_of(derived.replay, 50, at_most=1.0)}
        found["graph_then_wait_ms"] = 1000 * seconds_of(lambda: (graphs[0][0].replay(), synchronize()), 50, at_most=1.0)
    return found


def half_weights(workshop: Workshop, cell: Cell, length: int = 16) -> dict[str, Any]:
    """The same with weights, gradients and moments in bf16, without float32 masters."""
    forget()
    with prepared(workshop, cell, torch.bfloat16) as (parameters, model, tokens):
        batch = static_batch(tokens, cell.batch_size, length)
        step = Step(model, parameters, batch, cast=False, fused=True, capturable=torch.cuda.is_available())
        found: dict[str, Any] = {"eager_ms": 1000 * seconds_of(step, 30, at_most=1.5)}
        if torch.cuda.is_available():
            graph, _ = captured(step)
            found["graph_ms"] = 1000 * seconds_of(graph.replay, 50, at_most=1.0)
        return found | memory()


def compiled_layers(workshop: Workshop, cell: Cell, lengths: tuple[int, ...] = (16, 24)) -> dict[str, Any]:
    """Layers compiled one by one (all but the trimmed top one share their code), eager and as a CUDA graph."""
    forget()
    found: dict[str, Any] = {}
    with prepared(workshop, cell) as (parameters, model, tokens):
        base: Any = getattr(model, "get_base_model", lambda: model)()
        for layer in list(base.bert.encoder.layer)[:-1]:
            layer.compile(dynamic=True)
        for length in lengths:
            step = Step(model, parameters, static_batch(tokens, cell.batch_size, length), cast=True, fused=True)
            began = time.perf_counter()
            step()
            step()
            synchronize()
            found[f"first_two_steps_{length}_seconds"] = time.perf_counter() - began
            found[f"eager_{length}_ms"] = 1000 * seconds_of(step, 30, at_most=1.5)
        if torch.cuda.is_available():
            step = Step(model, parameters, static_batch(tokens, cell.batch_size, lengths[0]), True, fused=True, capturable=True)
            graph, _ = captured(step)
            found[f"graph_{lengths[0]}_ms"] = 1000 * seconds_of(graph.replay, 50, at_most=1.0)
    return found | memory()


# ---- parts of a step --------------------------------------------------------------------------------------------------------


def optimizers(workshop: Workshop) -> dict[str, float]:
    """Milliseconds of AdamW and of clipping on all of an encoder's parameters."""
    forget()
    found = {}
    cell = Cell("bert-base", "full", 32)
    plan = plan_of(workshop, workshop.config(cell, 8, precision="fp32"))
    model = plan.model.to(device())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = torch.randn_like(parameter) * 1e-3
    ways: dict[str, dict[str, Any]] = {"fused": {"fused": True}, "foreach": {"foreach": True}}
    if torch.cuda.is_available():
        ways["fused_capturable"] = {"fused": True, "capturable": True}
    for name, options in ways.items():
        optimizer = torch.optim.AdamW(trained, lr=1e-5, **options)
        found[f"{name}_ms"] = 1000 * seconds_of(optimizer.step, 20, at_most=1.0)
        del optimizer
        forget()
    found["clip_ms"] = 1000 * seconds_of(lambda: torch.nn.utils.clip_grad_norm_(trained, 1.0), 20, at_most=1.0)
    found["zero_to_none_ms"] = 1000 * seconds_of(model.zero_grad, 5, at_most=1.0)
    return found


def batches_of_lengths(batch_size: int, in_order: bool, count: int = 12) -> list[np.ndarray]:
    """Lengths of the texts of some batches: of like length, as ours, or drawn at random, as the Trainer's."""
    lengths = draw_lengths(batch_size * 60, 0)
    if in_order:
        return [lengths[indices] for indices in plan_epoch(lengths, batch_size, 0, 0)[:count]]
    return [lengths[start : start + batch_size] for start in range(0, batch_size * count, batch_size)]


def attention(workshop: Workshop, batch_size: int, in_order: bool) -> dict[str, Any]:
    """Milliseconds of attention, forward and backward, over batches of SST-2's lengths: padded with a mask, and packed."""
    from torch.nn.functional import scaled_dot_product_attention as attend

    forget()
    found: dict[str, Any] = {}
    size, count = (batch_size // 16, 2) if workshop.tiny else (batch_size, 12)
    batches = batches_of_lengths(size, in_order, count)
    found["padding"] = 1 - sum(int(lengths.sum()) for lengths in batches) / sum(int(b.max()) * len(b) for b in batches)

    def states(*shape: int) -> list[torch.Tensor]:
        return [torch.randn(*shape, HEADS, HEAD_SIZE, device=device(), dtype=torch.bfloat16, requires_grad=True) for _ in "qkv"]

    def time_of(make: Callable[[np.ndarray], Callable[[], torch.Tensor]]) -> float:
        runs = [make(lengths) for lengths in batches]

        def all_of_them() -> None:
            for run in runs:
                run().sum().backward()

        return 1000 * seconds_of(all_of_them, 6, at_most=0.6) / len(batches)

    def padded(mask_dtype: torch.dtype | None, multiple: int = 1) -> Callable[[np.ndarray], Callable[[], torch.Tensor]]:
        def make(lengths: np.ndarray) -> Callable[[], torch.Tensor]:
            longest = -(-int(lengths.max()) // multiple) * multiple
            q, k, v = (tensor.transpose(1, 2) for tensor in states(len(lengths), longest))
            mask = torch.arange(longest) < torch.from_numpy(lengths)[:, None]
            mask = mask[:, None, None, :].expand(-1, 1, longest, longest).to(device())
            if mask_dtype is None:
                return lambda: attend(q, k, v, dropout_p=0.1)
            if mask_dtype is not torch.bool:
                mask = torch.zeros(mask.shape, dtype=mask_dtype, device=device()).masked_fill(
                    ~mask, torch.finfo(mask_dtype).min
                )
            return lambda: attend(q, k, v, attn_mask=mask, dropout_p=0.1)

        return make

    def varlen(lengths: np.ndarray) -> Callable[[], torch.Tensor]:
        from torch.nn.attention.varlen import varlen_attn

        q, k, v = states(int(lengths.sum()))
        ends = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device())
        longest = int(lengths.max())
        return lambda: varlen_attn(q, k, v, ends, ends, longest, longest)  # type: ignore[return-value]

    def nested(lengths: np.ndarray) -> Callable[[], torch.Tensor]:
        total = int(lengths.sum())
        ends = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64, device=device())
        flat = states(total)
        longest, shortest = int(lengths.max()), int(lengths.min())

        def run() -> torch.Tensor:
            q, k, v = (
                torch.nested.nested_tensor_from_jagged(t, ends, min_seqlen=shortest, max_seqlen=longest).transpose(1, 2)
                for t in flat
            )
            return attend(q, k, v, dropout_p=0.1).transpose(1, 2).values()

        return run

    ways: dict[str, Callable[[np.ndarray], Callable[[], torch.Tensor]]] = {
        "mask_bool": padded(torch.bool),
        "mask_bf16": padded(torch.bfloat16),
        "mask_bf16_multiple_of_8": padded(torch.bfloat16, 8),
        "no_mask": padded(None),
        "no_mask_multiple_of_8": padded(None, 8),
        "varlen_without_dropout": varlen,
        "nested": nested,
    }
    for name, way in ways.items():
        try:
            found[f"{name}_ms"] = time_of(way)
        except Exception as error:
            found[f"{name}_error"] = f"{type(error).__name__}: {error}"[:300]
    try:
        from torch.nn.attention import varlen as module

        found["varlen_signature"] = str(inspect.signature(module.varlen_attn))
    except ImportError as error:
        found["varlen_signature"] = str(error)
    return found


def transfers(batch_size: int = 32, length: int = 16) -> dict[str, float]:
    """Microseconds of the host to bring a batch's three tensors onto the GPU: pageable, pinned, gathered from a table there."""
    forget()
    tensors = [torch.randint(5, 1000, (batch_size, length)), torch.ones(batch_size, length, dtype=torch.int64)]
    tensors.append(torch.zeros(batch_size, dtype=torch.int64))
    found = {"pageable_us": 1e6 * seconds_of(lambda: [tensor.to(device()) for tensor in tensors], 300, 20)}
    if not torch.cuda.is_available():
        return found
    busy = torch.randn(4096, 4096, device=device(), dtype=torch.bfloat16)

    def under_load(copy: Callable[[], Any]) -> float:
        """Microseconds until the call returns while the GPU is at work."""
        spent = []
        for _ in range(20):
            synchronize()
            for _ in range(4):
                torch.mm(busy, busy)
            begin = time.perf_counter()
            copy()
            spent.append(time.perf_counter() - begin)
        return 1e6 * float(np.median(spent))

    def pinned() -> list[torch.Tensor]:
        return [tensor.pin_memory().to(device(), non_blocking=True) for tensor in tensors]

    packed = torch.cat([tensor.flatten() for tensor in tensors])
    table = torch.randint(5, 1000, (67_349, 66), device=device(), dtype=torch.int32)
    rows = torch.randint(0, 67_349, (batch_size,))

    def gathered() -> torch.Tensor:
        return table[rows.pin_memory().to(device(), non_blocking=True), :length].long()

    found["pinned_us"] = 1e6 * seconds_of(pinned, 300, 20)
    found["one_pinned_us"] = 1e6 * seconds_of(lambda: packed.pin_memory().to(device(), non_blocking=True), 300, 20)
    found["gathered_us"] = 1e6 * seconds_of(gathered, 300, 20)
    found["pageable_under_load_us"] = under_load(lambda: [tensor.to(device()) for tensor in tensors])
    found["pinned_under_load_us"] = under_load(pinned)
    found["gathered_under_load_us"] = under_load(gathered)
    return found


# ---- the product's loop, and the Trainer's ----------------------------------------------------------------------------------


def watched(
    workshop: Workshop, cell: Cell, system: str, each_step: Callable[[int], None] | None, steps: int = 40
) -> dict[str, float]:
    """Train so many steps, calling `each_step` after each."""
    if system != "ours":
        return measure_trainer(workshop, cell, system, steps, 60.0, each_step)
    clock = Clock(60.0, each_step=each_step)
    fit(plan_of(workshop, workshop.config(cell, steps)), clock)
    return clock.found(1)


def syncs(workshop: Workshop, cell: Cell, system: str, first: int = 12, last: int = 32) -> dict[str, Any]:
    """How often a step waits for the GPU, and where, by torch's sync debug mode; two of twenty steps are logging points."""
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
            watched(workshop, cell, system, each_step)
        finally:
            warnings.showwarning = before
            if torch.cuda.is_available():
                torch.cuda.set_sync_debug_mode("default")
    steps = last - first
    return {"per_step": sum(places.values()) / steps, "where": {where: n / steps for where, n in places.most_common(25)}}


def profile(workshop: Workshop, cell: Cell, system: str, first: int = 15, last: int = 20) -> dict[str, Any]:
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
    plain = watched(workshop, cell, system, None)
    watched(workshop, cell, system, each_step)
    steps = last - first
    busy: collections.Counter[str] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for event in profiler.events() or []:
        if str(event.device_type).endswith("CUDA") and "#" not in event.name and not event.name.startswith("Profiler"):
            busy[event.name[:90]] += event.time_range.elapsed_us()
            counts[event.name[:90]] += 1
    hosts = sorted(profiler.key_averages(), key=lambda item: -item.self_cpu_time_total)[:20]
    return {
        "ms_without_profiler": plain["ms"],
        "ms_with_profiler": 1000 * (times["end"] - times["begin"]) / steps,
        "busy_ms": sum(busy.values()) / steps / 1000,
        "kernels_per_step": sum(counts.values()) / steps,
        "kernels": {name: {"us": us / steps, "count": counts[name] / steps} for name, us in busy.most_common(25)},
        "host": {item.key: {"us": item.self_cpu_time_total / steps, "count": item.count / steps} for item in hosts},
    }


def evaluation(workshop: Workshop, cell: Cell) -> dict[str, float]:
    """Texts a second that our evaluation scores, and for how much of it the host alone is at work."""
    from pipeline.data.batching import TokenExamples
    from pipeline.training.inference import predict_logits
    from pipeline.training.loop import make_accelerator

    forget()
    config = workshop.config(cell, 170)
    plan = plan_of(workshop, config)
    accelerator = make_accelerator(plan.precision)
    model = accelerator.prepare_model(plan.model, evaluation_mode=True)
    examples = TokenExamples(plan.train, plan.pad_id)
    predict_logits(model, examples, accelerator.device)
    begin = time.perf_counter()
    predict_logits(model, examples, accelerator.device)
    seconds = time.perf_counter() - begin
    return {"texts_per_second": len(examples.labels) / seconds, "texts": len(examples.labels), **memory()}


def questions(workshop: Workshop) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every question with its name, the most important first."""
    base, small = Cell("bert-base", "full", 32), Cell("minilm", "full", 32)
    lengths = (8, 16, 32, 64)
    yield f"whole_steps {base.name}", lambda: whole_steps(workshop, base, lengths)
    yield f"whole_steps {small.name}", lambda: whole_steps(workshop, small, lengths)
    yield f"profile ours {base.name}", lambda: profile(workshop, base, "ours")
    yield f"syncs ours {base.name}", lambda: syncs(workshop, base, "ours")
    yield f"syncs B {base.name}", lambda: syncs(workshop, base, "B")
    lora = Cell("bert-base", "lora", 32)
    yield f"whole_steps {lora.name}", lambda: whole_steps(workshop, lora, (8, 16, 32, 64))
    large = Cell("bert-base", "full", 256)
    yield f"whole_steps {large.name}", lambda: whole_steps(workshop, large, lengths)
    for in_order in (True, False):
        for size in (32, 256):
            order = "by length" if in_order else "at random"
            yield f"attention {size} {order}", lambda size=size, o=in_order: attention(workshop, size, o)  # type: ignore[misc]
    yield "transfers", transfers
    trainer = {"nan filter off": {"logging_nan_inf_filter": False}, "by length": {"train_sampling_strategy": "group_by_length"}}
    for title, arguments in trainer.items():
        yield f"B {title} {base.name}", lambda a=arguments: measure_trainer(workshop, base, "B", 170, 2.5, **a)  # type: ignore[misc]
    yield f"evaluation {base.name}", lambda: evaluation(workshop, base)
    yield "optimizers", lambda: optimizers(workshop)
    yield f"half_weights {base.name}", lambda: half_weights(workshop, base)
    yield f"profile B {base.name}", lambda: profile(workshop, base, "B")
    yield f"profile ours {lora.name}", lambda: profile(workshop, lora, "ours")
    head = Cell("minilm", "head_only", 32)
    yield f"profile ours {head.name}", lambda: profile(workshop, head, "ours")
    yield f"syncs ours {head.name}", lambda: syncs(workshop, head, "ours")
    yield f"ours in fp32 {base.name}", lambda: measure_ours(workshop, base, 170, 2.5, precision="fp32")
    stacked = Cell("minilm", "lora", 160)  # what five seeds of batches of 32 would come to, but for their own adapters
    yield f"whole_steps {stacked.name}", lambda: whole_steps(workshop, stacked)
    alone = Cell("minilm", "lora", 32)
    yield f"whole_steps {alone.name}", lambda: whole_steps(workshop, alone)
    yield f"compiled_layers {base.name}", lambda: compiled_layers(workshop, base)
    yield f"compiled_layers {large.name}", lambda: compiled_layers(workshop, large)
