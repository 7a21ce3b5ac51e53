"""Other factors than LoRA's of an update of a weight: DeLoRA, GraLoRA, MiSS, RandLoRA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pipeline.config.fields import Count, Names, Probability, Rate, Seed, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter
from pipeline.strategies.base import StrategyContext


@config_class
class Delora(LinearAdapter):
    """Train direction and, by one number a layer, strength of low-rank updates of frozen weights, and the classifier.

    Bini et al. 2025, arXiv:2503.18225. r·(n + m) + 1 numbers for n inputs and m outputs.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-3}

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """Rank of the updates."""
    strength: Rate = 15.0
    """How strong the updates are at the start, relative to the weights; it trains."""
    delora_dropout: Probability = 0.0
    """Dropout on the input of the updates."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """DeLoRA's config."""
        return peft.DeloraConfig(r=self.r, delora_lambda=self.strength, module_dropout=self.delora_dropout, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(3e-4, 1e-2), "r": Choices((4, 8, 16))}


@config_class
class Gralora(LinearAdapter):
    """Train a low-rank update of each block of frozen weights, cut into k x k blocks, and the classifier.

    Jung et al. 2025, arXiv:2505.20355. r·(n + m) numbers for n inputs and m outputs, as of LoRA; each block has rank r/k.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-3}

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """Rank that a row of blocks has in all; k must divide it."""
    alpha: Rate | None = None
    """Scale of the updates, relative to r; twice r if not given."""
    k: Count = 2
    """Into how many parts inputs and outputs are cut."""
    gralora_dropout: Probability = 0.0
    """Dropout on the input of the updates."""

    def misfit(self, inputs: int, outputs: int) -> str:
        """Rank and widths must be cut evenly."""
        if self.r % self.k:
            return f"r={self.r} is no multiple of k={self.k}, so blocks would have no whole rank. Choose a multiple."
        return self.undivided("k", inputs, outputs)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """GraLoRA's config."""
        alpha = self.alpha or 2 * self.r
        return peft.GraloraConfig(r=self.r, alpha=alpha, gralora_k=self.k, gralora_dropout=self.gralora_dropout, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks that two blocks divide."""
        return {"learning_rate": LogUniform(3e-4, 1e-2), "r": Choices(tuple(self.k * size for size in (2, 4, 8, 16)))}


@config_class
class Miss(LinearAdapter):
    """Train one block of rows that is repeated over the inputs of frozen weights, and the classifier.

    Kang and Yin 2025, arXiv:2409.15371 (matrix shard sharing). r·m numbers for m outputs: of square layers LoRA has as many at
    rank r/2.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-3}

    targets: Names = (QUERY_VALUE,)
    r: Count = 16
    """Rows of the block; inputs that are r apart share one."""
    miss_dropout: Probability = 0.0
    """Dropout on the input of the updates."""

    def misfit(self, inputs: int, outputs: int) -> str:
        """A block cannot have more rows than there are inputs."""
        return f"r={self.r} exceeds the width {inputs} {{of}}. Choose less." if self.r > inputs else ""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """MiSS's config."""
        return peft.MissConfig(r=self.r, miss_dropout=self.miss_dropout, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and sizes."""
        return {"learning_rate": LogUniform(1e-4, 3e-3), "r": Choices((8, 16, 32))}


@config_class
class Randlora(LinearAdapter):
    """Train updates of full rank as weighted sums of random low-rank matrices that all layers share, and the classifier.

    Albert et al. 2025, arXiv:2502.00987. Of a layer whose smaller width is w, w/r sums of r + w numbers: the smaller r, the
    more train.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3}

    targets: Names = (QUERY_VALUE,)
    r: Count = 32
    """Rank of the random matrices."""
    alpha: Rate | None = None
    """Scale of the updates, relative to r; 20 times r if not given."""
    randlora_dropout: Probability = 0.0
    """Dropout on the input of the updates."""
    projection_seed: Seed = 0
    """Seed of the random matrices. They are drawn anew when a model is loaded, so it is kept with the model."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Ranks, high ones first: the higher, the fewer train."""
        return range(context.encoder.hidden_size, 0, -1)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """RandLoRA's config."""
        return peft.RandLoraConfig(
            r=self.r,
            randlora_alpha=self.alpha or 20 * self.r,
            randlora_dropout=self.randlora_dropout,
            projection_prng_key=self.projection_seed,
            **shared,
        )

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(1e-4, 3e-3), "r": Choices((16, 32, 64))}
