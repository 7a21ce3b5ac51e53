"""DeBERTa-v2 and v3."""

from typing import Any

from pipeline.modeling.families.deberta import Deberta


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

    def why_unsupported(self, config: Any) -> str | None:
        """A convolution above the only layer, where nothing follows that would be given what it makes."""
        if getattr(config, "conv_kernel_size", 0) > 0 and config.num_hidden_layers == 1:
            return "conv_kernel_size in config.json with one layer alone is not supported"
        return None
