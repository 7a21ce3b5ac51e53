"""In which floating-point type the matrix products run. Master weights are float32 whatever is chosen."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Literal

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]

PRECISIONS: dict[str, Precision] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""Torch's name of a type of matrix products, as runs log it in `compute_dtype` -> what `--precision` calls it."""

# bf16 must win clearly: where it is about as fast, fp32 is the better choice, and the choice should not waver from run to run.
_CLEARLY_FASTER = 1.3


def choose_precision(option: str) -> Precision:
    """What `--precision` means on this machine.

    `auto` takes bf16 where the hardware has it: on CUDA by capability (fp16 on older GPUs), on a CPU by a measurement of some
    milliseconds.

    Raises:
        ConfigError: fp16 on a CPU, where torch accepts it and computes nothing faster, or bf16 on a GPU without it.
    """
    if option == "fp32":
        return "fp32"
    import torch

    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    if option == "fp16":
        if device_type != "cuda":
            raise ConfigError("--precision fp16 has no effect on a CPU. Choose auto, bf16 or fp32.")
        return "fp16"
    if device_type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        if option == "bf16":
            raise ConfigError(f"--precision bf16: {torch.cuda.get_device_name()} has no bf16 units. Choose fp16 or fp32.")
        return "fp16"
    if option == "bf16":
        return "bf16"
    return "bf16" if bf16_speedup_on_cpu() > _CLEARLY_FASTER else "fp32"


def compute_dtype(precision: Precision) -> torch.dtype:
    """The type of matrix products in that precision."""
    import torch

    dtype: torch.dtype = getattr(torch, dtype_name(precision))
    return dtype


def dtype_name(precision: Precision) -> str:
    """Torch's name of that type, such as `bfloat16`."""
    return next(name for name, short in PRECISIONS.items() if short == precision)


def dtype_of_states(precision: Precision) -> torch.dtype:
    """The type in which hidden states between layers are kept: fp16 has not the range for those of every architecture."""
    import torch

    return torch.bfloat16 if precision == "bf16" else torch.float32


@functools.cache
def peak_flops_per_second(precision: Precision) -> float:
    """What a large matrix product reaches on this machine, measured: the faster of two after warming up."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, inner, columns = (8192, 8192, 8192) if device == "cuda" else (1024, 1024, 4096)
    left = torch.ones(rows, inner, device=device, dtype=compute_dtype(precision))
    right = torch.ones(inner, columns, device=device, dtype=compute_dtype(precision))
    if device == "cuda":  # a GPU multiplies equal numbers faster than it ever will a model's
        generator = torch.Generator(device).manual_seed(0)  # its own: what is trained afterwards draws from the global one
        left.normal_(generator=generator)
        right.normal_(generator=generator)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # reading a value waits for the device
        times.append(time.perf_counter() - start)
    return 2 * rows * inner * columns / min(times[1:])


def bf16_speedup_on_cpu() -> float:
    """How many times faster a linear layer of an encoder runs in bf16 than in fp32, measured on this machine."""
    import torch

    return _seconds(torch.float32) / _seconds(torch.bfloat16)


def _seconds(dtype: torch.dtype) -> float:
    """Seconds for a linear layer of MiniLM's shape on 1024 tokens; the fastest of several, after warming up."""
    import torch

    tokens = torch.ones(1024, 384, dtype=dtype)
    weight = torch.ones(1536, 384, dtype=dtype)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        torch.nn.functional.linear(tokens, weight)
        times.append(time.perf_counter() - start)
    return min(times[2:])
