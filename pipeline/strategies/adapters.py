"""What strategies share that put modules into the model through peft: adapters of linear layers, and virtual tokens."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.config.fields import Count, Names, config_class
from pipeline.errors import ConfigError, unknown
from pipeline.modeling.encoder import EncoderSpec
from pipeline.modeling.head import leave_out_virtual_tokens
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, added, head

if TYPE_CHECKING:
    from torch import nn

ALL_LINEAR, QUERY_VALUE = "all-linear", "query-value"
_SHORTEST_TEXT = 3  # one token between those that the tokenizer puts around a text
_USUAL_TEXT = 128  # tokens, what texts are cut to by default; more virtual ones would cost more than the text


def import_peft() -> Any:
    """The peft package, imported late because it takes long and imports torch."""
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")  # peft 0.21 on transformers 5
    return importlib.import_module("peft")


def divisors(width: int) -> list[int]:
    """Every whole number that divides a width, ascending."""
    return [size for size in range(1, width + 1) if width % size == 0]


def linear_layers(model: nn.Module, encoder: EncoderSpec) -> dict[str, nn.Module]:
    """Full name -> module of every linear layer of the encoder's layers and pooler, none of the head's."""
    return {
        name: module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in encoder.family.linear
        and encoder.locate(f"{name}.weight").part in ("layer", "pooler")
        and hasattr(module, "in_features")
    }


@config_class
class LinearAdapter(Strategy):
    """Base of strategies that put adapters on linear layers and train those and the classifier."""

    targets: Names = (ALL_LINEAR,)
    """Which linear layers are adapted: all-linear (of layers and pooler), query-value, or their last names in the encoder."""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The adapters and the head, all the time."""
        available = {*context.encoder.family.linear, ALL_LINEAR, QUERY_VALUE}
        wrong = [unknown("target", name, available) for name in self.targets if name not in available]
        family = context.encoder.family
        if QUERY_VALUE in self.targets and not family.query_value:
            wrong.append(
                f"which layers make queries and values in {context.encoder.model_type} is not known. Name linear layers: "
                f"{', '.join(family.linear)}; or write all-linear."
            )
        if not self.targets:
            wrong = ["is empty. Name linear layers, or leave it out."]
        if wrong:
            raise ConfigError(*(f"{self.name}: targets: {message}" for message in wrong))
        self._check_shapes(context.encoder, self._shapes_by_config(context.encoder))
        return [Phase.training(added, head)]

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Every rank up to the width that fits, where the method has one."""
        width = context.encoder.hidden_size
        ranks = range(1, width + 1) if hasattr(self, "r") else range(0)
        return [rank for rank in ranks if not replace(self, **self.sized(rank)).misfit(width, width)]

    def sized(self, size: int) -> dict[str, Any]:
        """The rank."""
        return {"r": size}

    def misfit(self, inputs: int, outputs: int) -> str:
        """Why a linear layer of such widths cannot be adapted; empty where it can.

        Asked of the layers that a config describes, and of all that are adapted.

        Returns:
            A clause and the way out, as in "block_size=5 does not divide the width 32 {of}. Choose a divisor of it."
        """
        return ""

    def undivided(self, argument: str, *widths: int) -> str:
        """What `misfit` answers where widths are cut into blocks as wide as an argument says, and one cannot be."""
        size: int = getattr(self, argument)
        wrong = [width for width in widths if width % size]
        return f"{argument}={size} does not divide the width {wrong[0]} {{of}}. Choose a divisor of it." if wrong else ""

    def _check_shapes(self, encoder: EncoderSpec, shapes: Iterable[tuple[int, int]]) -> None:
        of = f"of {encoder.name}'s layers"
        for inputs, outputs in shapes:
            if reason := self.misfit(inputs, outputs):
                raise ConfigError(f"{self.name}: {reason.format(of=of)}")

    def _shapes_by_config(self, encoder: EncoderSpec) -> list[tuple[int, int]]:
        """Inputs and outputs of linear layers that every model has; what else it has, `adapt` looks at."""
        shapes = [(encoder.hidden_size, encoder.hidden_size)]
        if encoder.family.feed_forward_output.rpartition(".")[2] in self._target_names(encoder):
            shapes.append((encoder.intermediate_size, encoder.hidden_size))
        return shapes

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the linear layers with peft, by their full names: a last name such as `dense` may be one of the head's, too."""
        peft, encoder = import_peft(), context.encoder
        shapes = self.target_shapes(model, encoder)
        self._check_shapes(encoder, shapes.values())
        config = self.peft_config(
            peft,
            context,
            {
                "task_type": context.peft_task,
                "target_modules": list(shapes),
                "modules_to_save": [name for name in encoder.head_modules if getattr(model, name, None) is not None],
            },
        )
        wrapped: nn.Module = peft.get_peft_model(model, config)
        hold_tensors(wrapped)
        return wrapped

    def target_shapes(self, model: nn.Module, encoder: EncoderSpec) -> dict[str, tuple[int, int]]:
        """Full name of each layer that is adapted -> its inputs and outputs.

        Raises:
            ConfigError: The model has none of the targets.
        """
        wanted = self._target_names(encoder)
        layers: dict[str, Any] = linear_layers(model, encoder)
        last = {name: name.rpartition(".")[2] for name in layers}
        targets = [name for name in layers if last[name] in wanted]
        if not targets:  # not every model of a family has all of its layers
            raise ConfigError(
                f"{self.name}: targets={','.join(self.targets)} is no linear layer of {encoder.name}. Choose among "
                f"{', '.join(sorted(set(last.values())))}."
            )
        return {name: (layers[name].in_features, layers[name].out_features) for name in targets}

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """The config that peft has for the method.

        Args:
            shared: Keyword arguments that every method takes: the task, the layers by full name, the head.
        """
        raise NotImplementedError

    def _target_names(self, encoder: EncoderSpec) -> set[str]:
        groups = {ALL_LINEAR: encoder.family.linear, QUERY_VALUE: encoder.family.query_value}
        return {name for target in self.targets for name in groups.get(target, (target,))}


def hold_tensors(model: nn.Module) -> None:
    """Make buffers of the tensors that peft's layers keep in plain dictionaries, such as which entries of a weight change.

    Else they stay on the CPU when the model is moved, and are copied to the GPU in every step.
    """
    import torch
    from peft.tuners._buffer_dict import BufferDict
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in model.modules():
        for name, values in list(vars(layer).items()) if isinstance(layer, BaseTunerLayer) else ():
            held = values.values() if isinstance(values, dict) and not name.startswith("_") else ()
            if held and all(isinstance(value, torch.Tensor) for value in held):
                delattr(layer, name)
                setattr(layer, name, BufferDict(values, persistent=False))


def merge_into_base(model: Any) -> nn.Module:
    """The model below peft's wrapper, with adapters merged into its weights and the trained classifier in its place.

    Changes the model. Peft's own `merge_and_unload` fails where the classifier is more than one layer, but for LoRA.

    Raises:
        Exception: Peft's own, where a method cannot be merged.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    inner: nn.Module = model.get_base_model()
    for name, module in list(inner.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            inner.set_submodule(name, module.get_base_layer())
        elif isinstance(module, ModulesToSaveWrapper):
            inner.set_submodule(name, module.modules_to_save[module.active_adapter])
    if hasattr(inner, "peft_config"):  # peft notes on the model that it has adapters
        del inner.peft_config
    return inner


@config_class
class VirtualTokens(Strategy):
    """Base of strategies that put virtual tokens before a text and train those and the classifier."""

    num_virtual_tokens: Count = 20
    """How many virtual tokens there are."""

    @property
    def positions(self) -> int:
        """One for each virtual token: the text's positions are counted on from them."""
        return self.num_virtual_tokens

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """Every number of virtual tokens up to that of a usual text, if it leaves half of the positions to text."""
        return range(1, min(context.encoder.max_positions // 2, _USUAL_TEXT) + 1)

    def sized(self, size: int) -> dict[str, Any]:
        """How many virtual tokens there are."""
        return {"num_virtual_tokens": size}

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """What makes the virtual tokens, and the head, all the time."""
        encoder = context.encoder
        if self.num_virtual_tokens > encoder.max_positions - _SHORTEST_TEXT:
            raise ConfigError(
                f"{self.name}: num_virtual_tokens={self.num_virtual_tokens} leaves no room for text in the "
                f"{encoder.max_positions} positions of {encoder.name}. Choose fewer."
            )
        return [Phase.training(added, head)]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the model with peft."""
        peft = import_peft()
        leave_out_virtual_tokens(model, self.num_virtual_tokens)
        shared = {"task_type": context.peft_task, "num_virtual_tokens": self.num_virtual_tokens}
        wrapped: nn.Module = peft.get_peft_model(model, self.peft_config(peft, model, shared))
        return wrapped

    def peft_config(self, peft: Any, model: nn.Module, shared: dict[str, Any]) -> Any:
        """The config that peft has for the method.

        Args:
            shared: Keyword arguments that every method takes: the task and the number of virtual tokens.
        """
        raise NotImplementedError


def input_shape(model: nn.Module) -> dict[str, int]:
    """What peft asks of a model whose input is extended, as keyword arguments; not every family's config says it.

    The width is that of the token embeddings, which is less than the hidden size where the family projects them.
    """
    config: Any = model.config
    width: int = model.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    return {
        "token_dim": width,
        "num_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
    }
