"""What training costs: seconds, memory, floating-point operations."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.modeling.encoder import Encoder
from pipeline.strategies.freezing import ParameterPlan

MIB = 2**20


@dataclass
class Stopwatch:
    """Adds up the seconds spent inside `running()`."""

    seconds: float = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start


@dataclass
class MemoryMeter:
    """Peak memory of this process since the meter was made, less what was resident then."""

    baseline_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Note what is resident and start new peaks, where the system lets us."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux: resets VmHWM to what is resident
        self.baseline_bytes = _status_bytes("VmRSS") or _highest_bytes()
        if _cuda():
            import torch

            torch.cuda.reset_peak_memory_stats()

    def peaks(self) -> dict[str, float]:
        """Metric name -> MiB; the CUDA figures are absent where there is no CUDA."""
        peak = _status_bytes("VmHWM") or _highest_bytes()
        found = {"cost/peak_rss_mb": max(0, peak - self.baseline_bytes) / MIB}
        if _cuda():
            import torch

            found["cost/peak_cuda_mb"] = torch.cuda.max_memory_allocated() / MIB
            found["cost/peak_cuda_reserved_mb"] = torch.cuda.max_memory_reserved() / MIB
        return found


@dataclass(frozen=True)
class FlopCounter:
    """Floating-point operations of matrix products, by formula; a multiply-add counts as two.

    Forward per token and layer: 2(4h² + mhi) + 4hL for hidden size h, intermediate size i, padded length L and m matrices in
    the feed-forward block (2; 3 with a gate). Backward costs once more that for the gradients of activations, from the lowest
    layer that trains upwards (attention products twice), and 2 per trained matrix weight and token for the gradients of weights
    (Kaplan et al. 2020, arXiv:2001.08361, appendix B), at every depth at which layers that share weights use them.
    Left out, because below 2 % at the usual sizes: adapters' own forward products, and projections from a smaller embedding.
    """

    encoder: Encoder
    lowest_layer: int
    trained_weights: float
    """Matrix weights that train, each counted as often as a token passes it."""

    @classmethod
    def of(cls, encoder: Encoder, plan: ParameterPlan, phase: int) -> FlopCounter:
        """The counter for one phase of a plan."""
        training = [p for p in plan.parameters if p.factors[phase] > 0]
        lowest = encoder.depth
        for parameter in training:
            place = parameter.place
            layer = place.layer if place.layer is not None else _layer_of_added(parameter.name, encoder)
            if place.part == "embeddings" or (place.part == "added" and layer is None):
                lowest = 0
            elif layer is not None:
                lowest = min(lowest, encoder.first_use(layer))
        matrices = [p for p in training if len(p.shape) == 2 and p.place.part in ("layer", "pooler", "added")]
        uses = encoder.depth / encoder.layer_sets
        weights = sum(p.size * (uses if encoder.architecture.layers + "." in p.name else 1) for p in matrices)
        return cls(encoder, lowest, weights)

    def step(self, examples: int, padded_length: int) -> float:
        """Operations of one training step on a batch of that padded shape."""
        tokens = examples * padded_length
        h, i = self.encoder.hidden_size, self.encoder.intermediate_size
        linear = 2 * (4 * h * h + self.encoder.architecture.feed_forward_matrices * h * i) * tokens
        attention = 4 * h * padded_length * tokens
        above = self.encoder.depth - self.lowest_layer
        forward = self.encoder.depth * (linear + attention)
        return forward + above * (linear + 2 * attention) + 2 * self.trained_weights * tokens


def _layer_of_added(name: str, encoder: Encoder) -> int | None:
    _, found, rest = name.partition(encoder.architecture.layers + ".")
    number = rest.partition(".")[0]
    return int(number) if found and number.isdigit() else None


def _cuda() -> bool:
    if "torch" not in sys.modules:
        return False
    import torch

    return torch.cuda.is_available()


def _status_bytes(key: str) -> int | None:
    """A figure of /proc/self/status in bytes; None where there is no such file."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    return None


def _highest_bytes() -> int:
    """Highest resident memory of the process since it began; kibibytes on Linux, bytes on macOS."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
