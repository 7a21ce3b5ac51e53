"""What training costs: seconds, memory, floating-point operations."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.modeling.encoder import EncoderSpec
from pipeline.strategies.parameter_plan import ParameterPlan

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
        metrics = {"cost/peak_rss_mb": max(0, peak - self.baseline_bytes) / MIB}
        if _cuda():
            import torch

            metrics["cost/peak_cuda_mb"] = torch.cuda.max_memory_allocated() / MIB
            metrics["cost/peak_cuda_reserved_mb"] = torch.cuda.max_memory_reserved() / MIB
        return metrics


@dataclass(frozen=True)
class FlopCounter:
    """Floating-point operations of matrix products, by formula; a multiply-add counts as two.

    Forward per token and layer: 2(4h² + mhi) + 4hL for hidden size h, intermediate size i, padded length L and m matrices in
    the feed-forward block (2; 3 with a gate). Backward costs once more that for the gradients of activations, from the lowest
    layer that trains upwards (attention products twice), and 2 per trained matrix weight and token for the gradients of weights
    (Kaplan et al. 2020, arXiv:2001.08361, appendix B), at every depth at which layers that share weights use them. Pooler and
    head, and the top layer but for its keys and values where it is trimmed, compute once per text instead of once per token.
    Of r relative positions p linear layers make keys and queries, in every layer once per step (2ph²r), and add 2phr per token.
    A family's head that classifies every token counts once per token. Left out: what another head does once per token (the
    scores of `attention`); adapters' own forward products (1 to 4 % for LoRA of rank 8), projections from a smaller embedding,
    layers that --gradient-checkpointing computes anew, as usual in a utilisation (Chowdhery et al. 2022, arXiv:2204.02311),
    and virtual tokens, which make a short text up to twice as long for prompt and P-tuning.
    """

    encoder: EncoderSpec
    lowest_layer: int
    begins_at: int
    """The layer at which a step begins: 0, or the lowest one that trains where what is below comes from the cache."""
    trained_per_token: float
    """Matrix weights that train, each counted as often as a token passes it."""
    trained_per_text: float
    head: float
    """Matrix weights of pooler and head."""
    trims_last_layer: bool
    """Whether the top layer is trimmed."""
    trained_per_row: float = 0.0
    """Matrix weights that train and that rows of relative positions pass."""
    table_trains: bool = False
    """Whether what all layers share trains."""
    convolution: float = 0.0
    """Weights between two layers that every token passes."""

    @classmethod
    def of(
        cls, encoder: EncoderSpec, plan: ParameterPlan, phase: int, uses_cache: bool = False, trims_last_layer: bool = False
    ) -> FlopCounter:
        """The counter for one phase of a plan."""
        matrices = [p for p in plan.parameters if len(p.shape) == 2]
        inside = encoder.layers + "."
        top = f"{inside}{encoder.depth - 1}." if trims_last_layer else None
        relative, shared = encoder.relative_positions, [p for p in plan.parameters if p.location.part == "shared"]
        convolutions = [p for p in shared if len(p.shape) > 2]
        per_text = per_row = 0.0
        per_token = float(sum(p.size for p in convolutions if p.lr_multipliers[phase] > 0))
        for parameter in matrices:
            if parameter.lr_multipliers[phase] > 0 and parameter.location.part not in ("embeddings", "shared"):
                if relative and not set(relative.projections).isdisjoint(parameter.name.split(".")):
                    per_row += parameter.size
                    if not relative.tokens_pass:
                        continue
                size = parameter.size * (encoder.depth / encoder.layer_sets if inside in parameter.name else 1)
                if _is_once_per_text(parameter.name, parameter.location.part, top) and not encoder.classifies_tokens:
                    per_text += size
                else:
                    per_token += size
        lowest = plan.lowest_layer(encoder, phase)
        head = sum(parameter.size for parameter in matrices if parameter.location.part in ("pooler", "head"))
        return cls(
            encoder=encoder,
            lowest_layer=lowest,
            begins_at=lowest if uses_cache else 0,
            trained_per_token=per_token,
            trained_per_text=per_text,
            head=head,
            trims_last_layer=trims_last_layer,
            trained_per_row=per_row,
            table_trains=any(p.lr_multipliers[phase] > 0 for p in shared),
            convolution=sum(p.size for p in convolutions),
        )

    def step(self, examples: int, padded_length: int) -> float:
        """Operations of one training step on a batch of that padded shape."""
        tokens = examples * padded_length
        h, i = self.encoder.hidden_size, self.encoder.intermediate_size
        feed_forward = self.encoder.family.feed_forward_matrices * h * i
        linear, attention = 2 * (4 * h * h + feed_forward) * tokens, 4 * h * padded_length * tokens
        rows, kinds = self._relative_rows(padded_length)
        projected = 2 * kinds * h * h * rows
        attention += 2 * h * kinds * rows * tokens
        top = (linear, attention)
        if self.trims_last_layer:
            top = (2 * (2 * h * h * tokens + (2 * h * h + feed_forward) * examples), 4 * h * padded_length * examples)

        def layers(lowest: int, attention_products: int) -> float:
            whole = max(0, self.encoder.depth - 1 - lowest)
            return whole * (linear + attention_products * attention) + (
                top[0] + attention_products * top[1] if lowest < self.encoder.depth else 0
            )

        between = 2 * self.convolution * tokens
        head = 2 * self.head * (tokens if self.encoder.classifies_tokens else examples)
        forward = layers(self.begins_at, 1) + head
        forward += projected * (self.encoder.depth - self.begins_at) + (between if self.begins_at == 0 else 0)
        activations = layers(self.lowest_layer, 2) + (head if self.lowest_layer < self.encoder.depth else 0)
        if self.lowest_layer == 0:
            activations += between + (projected * self.encoder.depth if self.table_trains else 0)
        weights = 2 * (self.trained_per_token * tokens + self.trained_per_text * examples + self.trained_per_row * rows)
        return forward + activations + weights

    def _relative_rows(self, padded_length: int) -> tuple[int, int]:
        """Rows of relative positions, and what is made of each: keys and queries, or one of them."""
        relative = self.encoder.relative_positions
        if relative is None:
            return 0, 0
        rows = min(relative.rows, 2 * padded_length) if relative.follows_length else relative.rows
        return rows, len(relative.projections)


def _is_once_per_text(name: str, part: str, trimmed_layer: str | None) -> bool:
    if part in ("pooler", "head"):
        return True
    return trimmed_layer is not None and trimmed_layer in name and ".key." not in name and ".value." not in name


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
