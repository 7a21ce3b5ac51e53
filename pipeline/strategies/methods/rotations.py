"""Rotations and reflections of what frozen layers take in or put out: BOFT, HRA, RoAd. OFT has a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pipeline.config.fields import Count, Names, Probability, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter, divisors
from pipeline.strategies.base import StrategyContext

if TYPE_CHECKING:
    import torch
    from torch import nn


@config_class
class Boft(LinearAdapter):
    """Train rotations of the input of frozen layers that are products of butterfly factors, and the classifier.

    Liu et al. 2024, arXiv:2311.06243. Each output is scaled, too. With one factor it is exact OFT with that scale.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-3}

    targets: Names = (QUERY_VALUE,)
    block_size: Count = 8
    """Width of a rotation; with its butterfly factors it must divide the input width of every adapted layer."""
    butterfly_factors: Count = 2
    """How many block-diagonal factors a rotation is the product of."""
    boft_dropout: Probability = 0.0
    """Probability with which a block is left unrotated in a training step."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Widths of blocks."""
        width = context.encoder.hidden_size
        most = width // 2 ** (self.butterfly_factors - 1)
        return [size for size in divisors(most) if size % 2 == 0]

    def sized(self, size: int) -> dict[str, Any]:
        """The width of a block."""
        return {"block_size": size}

    def misfit(self, inputs: int, outputs: int) -> str:
        """A factor is permuted over blocks of twice the width of the one before; odd blocks have no half to permute."""
        if self.butterfly_factors > 1 and self.block_size % 2:
            return f"block_size={self.block_size} is odd, and butterfly factors halve blocks. Choose an even one."
        if reason := self.undivided("block_size", inputs):
            return reason
        widest = self.block_size * 2 ** (self.butterfly_factors - 1)
        if not inputs % widest:
            return ""
        return (
            f"butterfly_factors={self.butterfly_factors} with block_size={self.block_size} makes blocks of {widest}, which "
            f"do not divide the width {inputs} {{of}}. Choose fewer."
        )

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap with peft, which is given what makes block-diagonal matrices, and let layers share permutations.

        Peft would compile an extension for that, and where it cannot, as without a GPU, take one factor without a word.
        """
        import torch
        from peft.tuners.boft import layer as boft

        vars(boft)["_FBD_CUDA"] = _BlockDiagonal
        with torch.device("cpu"):  # permutations are made from their values
            wrapped = super().adapt(model, context)
        shared: dict[tuple[int, ...], Any] = {}
        for layer in wrapped.modules():
            if isinstance(layer, boft.BOFTLayer):
                layer.boft_P = shared.setdefault(tuple(layer.boft_P.shape), layer.boft_P)
        return wrapped

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """BOFT's config."""
        return peft.BOFTConfig(
            boft_block_size=self.block_size,
            boft_n_butterfly_factor=self.butterfly_factors,
            boft_dropout=self.boft_dropout,
            **shared,
        )

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates."""
        return {"learning_rate": LogUniform(3e-4, 1e-2)}


class _BlockDiagonal:
    """Stands for peft's CUDA extension: blocks of shape [factors, blocks, width, width] as one matrix a factor."""

    @staticmethod
    def forward(blocks: torch.Tensor) -> list[torch.Tensor]:
        """[factors, blocks, width, width] -> [factors, blocks·width, blocks·width]."""
        import torch

        return [torch.stack([torch.block_diag(*factor) for factor in blocks])]  # type: ignore[no-untyped-call]

    @staticmethod
    def backward(gradient: torch.Tensor, blocks: torch.Tensor) -> list[torch.Tensor]:
        """The gradient of the matrices -> that of the blocks."""
        factors, number, width, _ = blocks.shape
        cut = gradient.reshape(factors, number, width, number, width)
        return [cut.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)]


@config_class
class Hra(LinearAdapter):
    """Train reflections (Householder) of the input of frozen layers, and the classifier (Yuan et al. 2024, arXiv:2405.17484).

    r·n numbers for n inputs. Reflections begin as equal pairs, which cancel out.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-2}

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """How many reflections follow one another; an even number."""

    def misfit(self, inputs: int, outputs: int) -> str:
        """An odd reflection has no other to cancel it at the start, so the encoder would begin changed."""
        return f"r={self.r} is odd, and reflections begin as pairs that cancel out. Choose an even one." if self.r % 2 else ""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """HRA's config."""
        return peft.HRAConfig(r=self.r, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and numbers of reflections."""
        return {"learning_rate": LogUniform(1e-3, 3e-2), "r": Choices((4, 8, 16))}


@config_class
class Road(LinearAdapter):
    """Train an angle and a scale for each pair of a frozen layer's outputs, and the classifier.

    Liao and Monz 2024, arXiv:2409.00119.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-2}

    targets: Names = (QUERY_VALUE,)
    variant: Literal["road_1", "road_2", "road_4"] = "road_1"
    """Numbers of each pair of outputs: road_1 an angle and a scale, road_2 two of each, road_4 four of each."""
    group_size: Count = 64
    """Outputs are paired within groups of this width, the first half with the second; must be even and divide their number."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Of the variants."""
        return (1, 2, 4)

    def sized(self, size: int) -> dict[str, Any]:
        """The variant."""
        return {"variant": f"road_{size}"}

    def misfit(self, inputs: int, outputs: int) -> str:
        """Groups must divide the outputs, and have halves."""
        if self.group_size % 2:
            return f"group_size={self.group_size} is odd, and its halves are paired. Choose an even number."
        return self.undivided("group_size", outputs)

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """RoAd's config."""
        return peft.RoadConfig(variant=self.variant, group_size=self.group_size, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and variants."""
        return {"learning_rate": LogUniform(1e-3, 3e-2), "variant": Choices(("road_1", "road_2", "road_4"))}
