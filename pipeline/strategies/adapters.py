"""What strategies share that put modules into the model through peft: adapters of linear layers, and virtual tokens."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
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


def import_peft() -> Any:
    """The peft package, imported late because it takes long and imports torch."""
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")  # peft 0.21 on transformers 5
    return importlib.import_module("peft")


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
        return [Phase.training(added, head)]

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """Wrap the linear layers with peft, by their full names: a last name such as `dense` may be one of the head's, too."""
        peft, encoder = import_peft(), context.encoder
        wanted = self._target_names(encoder)
        linear = {name: name.rpartition(".")[2] for name in linear_layers(model, encoder)}
        targets = [name for name, last in linear.items() if last in wanted]
        if not targets:  # not every model of a family has all of its layers
            raise ConfigError(
                f"{self.name}: targets={','.join(self.targets)} is no linear layer of {encoder.name}. Choose among "
                f"{', '.join(sorted(set(linear.values())))}."
            )
        config = self.peft_config(
            peft,
            context,
            {
                "task_type": context.peft_task,
                "target_modules": targets,
                "modules_to_save": [name for name in encoder.head_modules if getattr(model, name, None) is not None],
            },
        )
        wrapped: nn.Module = peft.get_peft_model(model, config)
        return wrapped

    def peft_config(self, peft: Any, context: StrategyContext, shared: dict[str, Any]) -> Any:
        """The config that peft has for the method.

        Args:
            shared: Keyword arguments that every method takes: the task, the layers by full name, the head.
        """
        raise NotImplementedError

    def _target_names(self, encoder: EncoderSpec) -> set[str]:
        groups = {ALL_LINEAR: encoder.family.linear, QUERY_VALUE: encoder.family.query_value}
        return {name for target in self.targets for name in groups.get(target, (target,))}


@config_class
class VirtualTokens(Strategy):
    """Base of strategies that put virtual tokens before a text and train those and the classifier."""

    num_virtual_tokens: Count = 20
    """How many virtual tokens there are."""

    @property
    def positions(self) -> int:
        """One for each virtual token: the text's positions are counted on from them."""
        return self.num_virtual_tokens

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
