"""What enters the model: token ids, or precomputed activations of its frozen layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline import interruption
from pipeline.data.batching import Examples, TokenExamples
from pipeline.data.tokenization import TokenTable
from pipeline.modeling.split_model import SplitModel
from pipeline.training.acceleration.base import AUTO
from pipeline.training.activation_cache import CachedExamples, split_examples
from pipeline.training.distributed import DistributedContext
from pipeline.training.plan import FitPlan, Progress
from pipeline.training.precision import dtype_of_states

CacheProgress = Callable[[int, int], None]
"""Is told (examples, of how many) while hidden states are computed for the cache."""


@dataclass(frozen=True)
class PhaseInputs:
    """What the model is fed with in one phase."""

    train: Examples
    validation: Examples
    uses_cache: bool
    """Whether the frozen layers' hidden states come from the cache."""


class InputsByPhase:
    """The feed of each phase, made when the phase begins."""

    def __init__(self, plan: FitPlan, on_cache_progress: CacheProgress, device: Any, distributed: DistributedContext) -> None:
        """Make none yet."""
        self._plan, self._on_cache_progress, self._device, self._distributed = plan, on_cache_progress, device, distributed
        self._by_layer: dict[int, PhaseInputs] = {}

    def of(self, phase: int, progress: Progress, pieces: int) -> PhaseInputs:
        """Token ids where the model trains from the bottom up, else the hidden states that enter its lowest trained layer.

        What came from the cache is noted in `progress` when it does so first: a resumed training finds what it had built.

        Args:
            pieces: In how many a batch is computed: hidden states for the cache are computed in no larger ones.
        """
        layer = self._plan.parameters.lowest_layer(self._plan.encoder, phase)
        if layer not in self._by_layer:
            made: list[Examples] = []
            max_tokens = self._plan.largest_batch(pieces)

            def make(table: TokenTable) -> Examples:
                made.append(self._make(table, layer, max_tokens))
                return made[-1]

            # Process 0 computes what is to be cached, and the others find it. It may take long, and may be stopped anywhere.
            with interruption.admitted(), self._distributed.main_process_first():
                train, validation = self._plan.train.as_examples(make), self._plan.validation.as_examples(make)
            self._by_layer[layer] = PhaseInputs(train, validation, isinstance(made[0], CachedExamples))
            states = [examples.states for examples in made if isinstance(examples, CachedExamples)]
            if states:
                seconds = sum(each.build_seconds for each in states)
                progress.cached.setdefault(str(layer), (seconds, all(each.found for each in states)))
        return self._by_layer[layer]

    def _make(self, table: TokenTable, layer: int, max_tokens: int) -> Examples:
        plan, tokens = self._plan, TokenExamples(table, self._plan.pad_id)
        if layer == 0:
            return tokens
        return split_examples(
            SplitModel(plan.model, plan.encoder, layer),
            tokens,
            self._device,
            dtype_of_states(plan.precision),
            plan.activation_cache,
            [plan.base_identity, plan.precision, *(() if plan.config.acceleration == (AUTO,) else plan.config.acceleration)],
            self._on_cache_progress,
            max_tokens,
        )
