"""LoRA at two rates, and LoRA that begins elsewhere: LoRA+, PiSSA, EVA."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.config.fields import Rate, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.modeling.encoder import ParameterLocation
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.freezing import ParamGroup, Phase, added, either, head
from pipeline.strategies.methods.lora import Lora

if TYPE_CHECKING:
    import torch
    from torch import nn

_ADAPTER = "default"  # peft's name of the only adapter
_SVD = "pissa_niter_16"
"""The largest singular vectors by 16 rounds of subspace iteration: seconds where a whole SVD takes minutes."""


def _second_factor(location: ParameterLocation) -> bool:
    return added(location) and ".lora_B." in location.name


@config_class
class LoraPlus(Lora):
    """Train LoRA's updates, the factor B at a multiple of the rate of A, and the classifier.

    Hayou et al. 2024, arXiv:2402.12354. The classifier trains at the rate of A.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 2e-4}

    ratio: Rate = 16.0
    """Rate of B, as a multiple of the learning rate, at which A trains."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The updates at two rates and the head, all the time."""
        super().phases(context)  # checks targets
        return [Phase((ParamGroup(_second_factor, self.ratio), ParamGroup(either(added, head))))]

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates of A, ratios and ranks."""
        return {**super().search_space(context), "learning_rate": LogUniform(3e-5, 1e-3), "ratio": Choices((4.0, 8.0, 16.0))}


@config_class
class Pissa(Lora):
    """Train LoRA's updates from the largest singular vectors of the weights, the rest of which is frozen, and the classifier.

    Meng et al. 2024, arXiv:2404.02948. The factors that it began with are saved, too: the frozen rest is the base without
    them, and another machine would find others.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 5e-4}

    def begin(self, model: nn.Module, batches: Callable[[], Iterable[Mapping[str, torch.Tensor]]]) -> None:
        """Find the factors, and take their product out of the frozen weights."""
        for layer in _lora_layers(model):
            layer.pissa_init(_ADAPTER, _SVD)
            layer.register_buffer("start_A", layer.lora_A[_ADAPTER].weight.detach().clone(), persistent=False)
            layer.register_buffer("start_B", layer.lora_B[_ADAPTER].weight.detach().clone(), persistent=False)

    def kept(self, model: nn.Module) -> Mapping[str, torch.Tensor]:
        """The factors at the start."""
        return {name: buffer for name, buffer in model.named_buffers() if name.endswith((".start_A", ".start_B"))}

    def keep(self, model: nn.Module, kept: Mapping[str, torch.Tensor]) -> None:
        """Take the product of these factors out of the frozen weights; what another `begin` took out is put back first."""
        names = {layer: name for name, layer in model.named_modules()}
        expected = {f"{names[layer]}.start_{factor}" for layer in _lora_layers(model) for factor in "AB"}
        if kept.keys() != expected:
            raise ValueError(f"These are weights of another model or strategy; they differ in {min(kept.keys() ^ expected)}.")
        for layer in _lora_layers(model):
            frozen = layer.get_base_layer().weight
            factors = [kept[f"{names[layer]}.start_{factor}"].to(frozen.device) for factor in "BA"]
            present = [layer.start_B, layer.start_A] if hasattr(layer, "start_A") else []
            if present and all(one.equal(other) for one, other in zip(present, factors, strict=True)):
                continue
            if present:
                frozen.data = frozen.data + layer.scaling[_ADAPTER] * present[0] @ present[1]
            frozen.data = frozen.data - layer.scaling[_ADAPTER] * factors[0] @ factors[1]  # rounded as peft does
            layer.register_buffer("start_A", factors[1], persistent=False)
            layer.register_buffer("start_B", factors[0], persistent=False)

    def state(self, model: nn.Module) -> dict[str, Any]:
        """The factors at the start."""
        return dict(self.kept(model))

    def restore(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Begin with them."""
        self.keep(model, state)


@config_class
class Eva(Lora):
    """Train LoRA's updates from the directions in which a layer's inputs vary most, and the classifier.

    Paischer et al. 2025, arXiv:2410.07170. The first factor begins as the principal components of what the layer is given by
    256 training texts, padding left out. Every layer keeps rank r: the paper's redistribution of ranks is left out, so that as
    many parameters train as with lora.
    """

    options: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3}

    def begin(self, model: nn.Module, batches: Callable[[], Iterable[Mapping[str, torch.Tensor]]]) -> None:
        """Find the components of every layer's input."""
        import torch

        sums = {layer: _Moments() for layer in _lora_layers(model)}
        handles = [layer.register_forward_pre_hook(moments.add) for layer, moments in sums.items()]
        was_training = model.training
        try:
            model.eval()
            with torch.no_grad():
                for batch in batches():
                    for moments in sums.values():
                        moments.mask = batch["attention_mask"].bool()
                    model(**batch)
        finally:
            model.train(was_training)
            for handle in handles:
                handle.remove()
        for layer, moments in sums.items():
            components = moments.components(self.r)
            layer.lora_A[_ADAPTER].weight.data[: len(components)] = components


class _Moments:
    """Sums over a layer's inputs from which their covariance follows."""

    def __init__(self) -> None:
        self.mask: torch.Tensor | None = None
        """Where the batch has no padding; shape [texts, length]."""
        self._count = 0
        self._sum: Any = 0.0
        self._products: Any = 0.0

    def add(self, layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        """What a layer is given: shape [texts, length, width], or fewer dimensions where not every token passes it."""
        states = given[0].detach()
        if self.mask is not None and states.shape[:2] == self.mask.shape and states.dim() == 3:
            states = states[self.mask]
        rows = states.reshape(-1, states.shape[-1]).double()
        self._count += len(rows)
        self._sum = self._sum + rows.sum(0)
        self._products = self._products + rows.T @ rows

    def components(self, number: int) -> torch.Tensor:
        """The principal components with the largest variance; shape [number, width], or fewer where the width is less."""
        import torch

        mean = self._sum / self._count
        vectors: torch.Tensor = torch.linalg.eigh(self._products / self._count - torch.outer(mean, mean)).eigenvectors
        return vectors.T.flip(0)[:number]


def _lora_layers(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if hasattr(module, "lora_A") and hasattr(module, "get_base_layer"))
