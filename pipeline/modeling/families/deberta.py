"""DeBERTa."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.modeling.family import TAKES_NO_PAST, UNLIMITED, Family, RelativePositions

if TYPE_CHECKING:
    import torch


class Deberta(Family):
    """DeBERTa (He et al. 2021, arXiv:2006.03654). One layer makes queries, keys and values.

    Its classifier has a hidden layer of its own, which stands outside the encoder and is called `pooler`.
    """

    model_types: ClassVar[tuple[str, ...]] = ("deberta",)
    base_prefix = "deberta"
    examples: ClassVar[tuple[str, ...]] = ("microsoft/deberta-base",)
    shared: ClassVar[tuple[str, ...]] = ("encoder.rel_embeddings",)
    pooler = None
    head = ("pooler", "classifier")
    linear_head = False
    linear: ClassVar[tuple[str, ...]] = ("in_proj", "pos_proj", "pos_q_proj", "dense")
    query_value: ClassVar[tuple[str, ...]] = ("in_proj",)
    key_value: ClassVar[tuple[str, ...]] = ("in_proj",)
    layers_return_tuples = True
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob", "pooler_dropout", "cls_dropout")
    refused = {"prefix": TAKES_NO_PAST}

    def max_positions(self, config: Any) -> int:
        """`max_position_embeddings` where `position_biased_input`, else any."""
        return int(config.max_position_embeddings) if config.position_biased_input else UNLIMITED

    def relative_positions(self, config: Any) -> RelativePositions | None:
        """Keys (`c2p`) and queries (`p2c`) of a row for every distance, up to the text's length."""
        projections = tuple(name for kind, name in (("c2p", "pos_proj"), ("p2c", "pos_q_proj")) if kind in _kinds(config))
        return RelativePositions(2 * _longest_distance(config), projections, False, True) if projections else None

    def layer_weights(self, config: Any) -> int:
        """With the projections of relative positions."""
        relative = self.relative_positions(config)
        own = len(relative.projections) if relative and not relative.tokens_pass else 0
        return super().layer_weights(config) + own * int(config.hidden_size) ** 2

    def repair(self, model: Any) -> None:
        """Under autocast its scores are of another type than the lowest number that masks them, and transformers stops."""
        attentions = [module for module in model.modules() if hasattr(module, "in_proj")]
        for kind in {type(module) for module in attentions}:
            in_float32 = _in_float32(kind)
            for module in (module for module in attentions if type(module) is kind):
                module.__class__ = in_float32


def _in_float32(attention: type) -> type:
    """The attention, computed in float32 whatever the rest is computed in."""
    import torch

    class InFloat32(attention):  # type: ignore[misc]
        def forward(self, hidden_states: torch.Tensor, *given: Any, **named: Any) -> Any:
            if hidden_states.is_meta or not torch.is_autocast_enabled(hidden_states.device.type):
                return super().forward(hidden_states, *given, **named)
            with torch.autocast(hidden_states.device.type, enabled=False):
                return super().forward(hidden_states.float(), *given, **named)

    return InFloat32


def _kinds(config: Any) -> tuple[str, ...]:
    return tuple(config.pos_att_type or ()) if config.relative_attention else ()


def _longest_distance(config: Any) -> int:
    longest = config.max_relative_positions
    return int(longest if longest > 0 else config.max_position_embeddings)
