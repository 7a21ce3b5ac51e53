"""Updates of a weight that are drawn entries of it, or of its spectrum: SHiRA, FourierFT, WaveFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.config.fields import Count, Names, Rate, Seed, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.strategies.adapters import QUERY_VALUE, LinearAdapter, hold_tensors
from pipeline.strategies.base import StrategyContext

if TYPE_CHECKING:
    from torch import nn


@config_class
class Shira(LinearAdapter):
    """Train single entries of frozen weights, drawn at random, and the classifier (Bhardwaj et al. 2024, arXiv:2406.13175).

    Of a layer with n inputs and m outputs r·(n + m) entries train, as many as of LoRA at rank r, without its limit to a rank.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-3}

    targets: Names = (QUERY_VALUE,)
    r: Count = 8
    """Rank of the LoRA of which as many numbers train."""
    places_seed: Seed = 0
    """Seed of the entries. They are drawn anew when a model is loaded, so it is kept with the model."""

    def misfit(self, inputs: int, outputs: int) -> str:
        """A layer has only so many entries."""
        wanted, there = self.r * (inputs + outputs), inputs * outputs
        return f"r={self.r} asks for {wanted:,} of the {there:,} entries of each {{of}}. Choose less." if wanted > there else ""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """SHiRA's config, without entries."""
        config = peft.ShiraConfig(r=self.r, **shared)
        config.mask_fn = None
        return config

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Draw the entries of each layer; peft would draw the same ones in all layers of a shape.

        Updates are dense: memory cannot be forecast of peft's sparse ones, which it adds to dense weights in every step.
        """
        import torch
        from peft.tuners.shira.layer import Linear

        class Dense(Linear):  # type: ignore[misc]
            """Peft's layer with dense updates."""

            def get_delta_weight(self, adapter: str) -> torch.Tensor:
                """Shape [outputs, inputs]."""
                values, places = self.shira_weight[adapter], self.shira_indices[adapter].long()
                update: torch.Tensor = values.new_zeros(self.out_features, self.in_features)
                return update.index_put((places[0], places[1]), values)

        wrapped, generator = super().adapt(model, context), torch.Generator().manual_seed(self.places_seed)
        for layer in wrapped.modules():
            if isinstance(layer, Linear):
                layer.__class__ = Dense
                ((adapter, weight),) = layer.shira_weight.items()
                total = layer.in_features * layer.out_features
                drawn = torch.randperm(total, generator=generator)[: len(weight)].sort().values.to(weight.device)
                layer.shira_indices[adapter] = torch.stack([drawn // layer.in_features, drawn % layer.in_features]).int()
        hold_tensors(wrapped)
        return wrapped

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and ranks."""
        return {"learning_rate": LogUniform(3e-4, 1e-2), "r": Choices((4, 8, 16))}


@config_class
class _Spectral(LinearAdapter):
    """Base of methods that train drawn coefficients of the update's spectrum."""

    targets: Names = (QUERY_VALUE,)
    places_seed: Seed = 0
    """Seed of the frequencies. They are drawn anew when a model is loaded, so it is kept with the model."""

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Every number of frequencies."""
        return range(1, context.encoder.hidden_size**2 + 1)

    def sized(self, size: int) -> dict[str, Any]:
        """How many frequencies train."""
        return {"n_frequency": size}

    def misfit(self, inputs: int, outputs: int) -> str:
        """A layer has only so many frequencies."""
        wanted, there = getattr(self, "n_frequency", 0), inputs * outputs
        return f"n_frequency={wanted} exceeds the {there:,} entries of each {{of}}. Choose less." if wanted > there else ""

    @staticmethod
    def _that_fit(context: StrategyContext, *numbers: int) -> Choices:
        return Choices(tuple(number for number in numbers if number <= context.encoder.hidden_size**2))


@config_class
class Fourierft(_Spectral):
    """Train drawn Fourier coefficients of the updates of frozen weights, and the classifier.

    Gao et al. 2024, arXiv:2405.03003. `n_frequency` numbers a layer, whatever its size. The coefficients begin at random, as
    in the paper, so the model begins near its base and not at it.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-2}

    n_frequency: Count = 1000
    """How many coefficients of each layer train."""
    scaling: Rate = 150.0
    """Factor of the updates."""

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """FourierFT's config."""
        own = {"n_frequency": self.n_frequency, "scaling": self.scaling, "random_loc_seed": self.places_seed}
        return peft.FourierFTConfig(**own, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and numbers of coefficients."""
        return {"learning_rate": LogUniform(3e-3, 1e-1), "n_frequency": self._that_fit(context, 500, 1000, 2000)}


@config_class
class Waveft(_Spectral):
    """Train drawn wavelet coefficients of the updates of frozen weights, and the classifier.

    Bilican et al. 2025, arXiv:2505.12532, with Haar wavelets. `n_frequency` numbers a layer, whatever its size.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-3}

    n_frequency: Count = 2592
    """How many coefficients of each layer train."""
    scaling: Rate = 25.0
    """Factor of the updates."""

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap with peft, whose layers ask in every step which frequencies are there: memory cannot be forecast so."""
        import torch
        from peft.tuners.waveft.layer import WaveFTLinear
        from peft.tuners.waveft.waverec2d import waverec2d

        class Haar(WaveFTLinear):  # type: ignore[misc]
            """Peft's layer for this wavelet, which has every frequency."""

            def get_delta_weight(self, adapter: str) -> torch.Tensor:
                """Shape [outputs, inputs]."""
                values, places = self.waveft_spectrum[adapter], self.waveft_indices[adapter]
                even = [size + size % 2 for size in (self.out_features, self.in_features)]
                spectrum = values.new_zeros(even).index_put((places[0], places[1]), values)
                bands = [band for half in spectrum.chunk(2) for band in half.chunk(2, 1)]
                update: torch.Tensor = waverec2d((bands[0], tuple(bands[1:])), "db1") * self.waveft_scaling[adapter]
                return update[: self.out_features, : self.in_features]

        wrapped = super().adapt(model, context)
        for layer in wrapped.modules():
            if isinstance(layer, WaveFTLinear):
                layer.__class__ = Haar
        return wrapped

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """WaveFT's config."""
        own = {"n_frequency": self.n_frequency, "scaling": self.scaling, "random_loc_seed": self.places_seed}
        return peft.WaveFTConfig(**own, **shared)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates and numbers of coefficients."""
        return {"learning_rate": LogUniform(3e-4, 1e-2), "n_frequency": self._that_fit(context, 1296, 2592, 5184)}
