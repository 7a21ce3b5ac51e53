"""Updates of a weight that are products other than LoRA's: LoHa, LoKr, C3A."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.config.fields import Count, Names, Rate, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter, divisors
from pipeline.strategies.base import StrategyContext

if TYPE_CHECKING:
    from torch import nn


class _Never:
    """A probability of nought that is told without a draw."""

    def __lt__(self, drawn: object) -> bool:
        return True


@config_class
class _ByLycoris(LinearAdapter):
    """Base of what peft has from LyCORIS."""

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap with peft, whose layers else compare a draw with their dropout of 0: memory cannot be forecast so."""
        from peft.tuners.lycoris_utils import LycorisLayer

        wrapped = super().adapt(model, context)
        for layer in wrapped.modules():
            if isinstance(layer, LycorisLayer):
                layer.module_dropout = dict.fromkeys(layer.module_dropout, _Never())
        return wrapped


@config_class
class Loha(_ByLycoris):
    """Train the entrywise product of two low-rank updates of frozen weights, and the classifier.

    Hyeon-Woo et al. 2022, arXiv:2108.06098. The update has rank up to r² with 2·r·(n + m) numbers for n inputs and m outputs.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-3}

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """Rank of both factors."""
    alpha: Rate | None = None
    """Scale of the updates, relative to r; r if not given."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """LoHa's config."""
        return peft.LoHaConfig(r=self.r, alpha=self.alpha or self.r, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(3e-4, 1e-2), "r": Choices((4, 8, 16))}


@config_class
class Lokr(_ByLycoris):
    """Train updates of frozen weights that are a small matrix times a low-rank one (Kronecker), and the classifier.

    Edalati et al. 2022, arXiv:2212.10650; Yeh et al. 2024, arXiv:2309.14859. Each width is taken as a product of two numbers as
    near each other as they get.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-2}

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """Rank of the larger factor; half its width or more makes it a whole matrix."""
    alpha: Rate | None = None
    """Scale of the updates, relative to r; r if not given."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Ranks up to that at which the larger factor of the widest layer is whole."""
        widest = max(context.encoder.hidden_size, context.encoder.intermediate_size)
        larger = next(size for size in divisors(widest) if size**2 >= widest)
        return range(1, -(-larger // 2) + 1)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """LoKr's config."""
        return peft.LoKrConfig(r=self.r, alpha=self.alpha or self.r, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(1e-3, 3e-2), "r": Choices((4, 8, 16))}


@config_class
class C3a(LinearAdapter):
    """Train updates of frozen weights that are made of circulant blocks, and the classifier.

    Chen et al. 2025, arXiv:2407.19342. n·m/block_size numbers for n inputs and m outputs, of full rank. The kernels begin at
    random, as in the paper, so the model begins near its base and not at it.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.3}

    targets: Names = (QUERY_VALUE,)
    block_size: Count = 128
    """Width of a circulant block; must divide inputs and outputs of every adapted layer."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Widths of blocks, wide ones first: the wider, the fewer train."""
        return divisors(context.encoder.hidden_size)[::-1]

    def sized(self, size: int) -> dict[str, Any]:
        """The width of a block."""
        return {"block_size": size}

    def misfit(self, inputs: int, outputs: int) -> str:
        """Blocks must divide both widths."""
        return self.undivided("block_size", inputs, outputs)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """C3A's config."""
        return peft.C3AConfig(block_size=self.block_size, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(1e-2, 3e-1)}
