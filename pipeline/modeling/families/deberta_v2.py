"""DeBERTa-v2 and v3."""

from typing import Any

from pipeline.modeling.families.deberta import Deberta
from pipeline.modeling.family import RelativePositions


class DebertaV2(Deberta):
    """DeBERTa-v2, DeBERTa-v3 and mDeBERTa-v3 (He et al. 2023, arXiv:2111.09543).

    The layers share a table of relative positions with its norm, and v2 a convolution between the lowest two.
    """

    model_types = ("deberta-v2",)
    examples = ("microsoft/deberta-v3-base", "microsoft/mdeberta-v3-base", "microsoft/deberta-v2-xlarge")
    shared = ("encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv")
    between_layers = ("encoder.conv",)
    linear = ("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj", "dense")
    query_value = ("query_proj", "value_proj")
    key_value = ("key_proj", "value_proj")

    def relative_positions(self, config: Any) -> RelativePositions | None:
        """Of a row for every bucket of distances, by layers of their own or by those of the tokens."""
        positions = super().relative_positions(config)
        if positions is None:
            return None
        buckets, shared = getattr(config, "position_buckets", -1), getattr(config, "share_att_key", False)
        own = {"pos_proj": "pos_key_proj", "pos_q_proj": "pos_query_proj"}
        projections = ("query_proj", "key_proj") if shared else tuple(own[name] for name in positions.projections)
        return RelativePositions(2 * buckets if buckets > 0 else positions.rows, projections, shared, False)

    def why_unsupported(self, config: Any) -> str | None:
        """A convolution above the only layer, where nothing follows that would be given what it makes."""
        if getattr(config, "conv_kernel_size", 0) > 0 and config.num_hidden_layers == 1:
            return "conv_kernel_size in config.json with one layer alone is not supported"
        return None
